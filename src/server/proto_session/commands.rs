//! The commands of the protocol, as they are counted and noted.

use std::sync::LazyLock;

use crate::protocol::proto::request::{Action, Command};
use crate::protocol::resp::table;
use crate::server::proto_steps::ProtoStep;
use crate::server::step::Step;

/// The names of the commands. Their numbers come behind those of the commands of Redis.
pub(crate) const COMMAND_NAMES: [&str; 18] = [
    "kvs.get",
    "kvs.get_many",
    "kvs.set",
    "kvs.remove",
    "kvs.batch",
    "kvs.compare_and_swap",
    "kvs.increment",
    "kvs.append",
    "kvs.expire",
    "kvs.hello",
    "kvs.auth",
    "kvs.ping",
    "kvs.scan",
    "kvs.watch",
    "kvs.grant",
    "kvs.cancel",
    "kvs.stats",
    "kvs.sync",
];

static FIRST_NUMBER: LazyLock<usize> = LazyLock::new(|| table::numbers().len());

/// The number of a command for the counters.
pub(super) fn number(command: &Command) -> usize {
    *FIRST_NUMBER + place(command)
}

pub(super) fn number_of_action(action: &Action) -> usize {
    *FIRST_NUMBER + place_of_action(action)
}

pub(super) fn name(command: &Command) -> &'static str {
    COMMAND_NAMES.get(place(command)).copied().unwrap_or_default()
}

pub(super) fn name_of_action(action: &Action) -> &'static str {
    COMMAND_NAMES.get(place_of_action(action)).copied().unwrap_or_default()
}

/// A step for the log of slow commands: its name and its keys. Values are not told.
pub(super) fn described(step: &ProtoStep) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    step.reads(&mut keys);
    if keys.is_empty() {
        step.writes(&mut keys);
    }
    let mut described = vec![name_of_action(&step.command.action).as_bytes().to_vec()];
    described.extend(keys.iter().map(|key| key.to_vec()));
    described
}

fn place(command: &Command) -> usize {
    match command {
        Command::Keys(command) => place_of_action(&command.action),
        Command::Hello(_) => 9,
        Command::Auth { .. } => 10,
        Command::Ping { .. } => 11,
        Command::Scan(_) => 12,
        Command::Watch(_) => 13,
        Command::Grant { .. } => 14,
        Command::Cancel => 15,
        Command::Stats => 16,
        Command::Sync => 17,
    }
}

fn place_of_action(action: &Action) -> usize {
    match action {
        Action::Get { .. } => 0,
        Action::GetMany { .. } => 1,
        Action::Set { .. } => 2,
        Action::Remove { .. } => 3,
        Action::Batch { .. } => 4,
        Action::CompareAndSwap(_) => 5,
        Action::Increment { .. } => 6,
        Action::Append { .. } => 7,
        Action::Expire { .. } => 8,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Action, Command, name, name_of_action};

    #[test]
    fn the_names_are_in_their_places() {
        let key = Bytes::new();
        assert_eq!(
            name_of_action(&Action::Get { key: key.clone(), without_value: false }),
            "kvs.get"
        );
        assert_eq!(name_of_action(&Action::Increment { key: key.clone(), by: 1 }), "kvs.increment");
        assert_eq!(name(&Command::Auth { password: key.clone() }), "kvs.auth");
        assert_eq!(name(&Command::Ping { payload: key }), "kvs.ping");
        assert_eq!(name(&Command::Grant { pages: 1 }), "kvs.grant");
        assert_eq!((name(&Command::Stats), name(&Command::Sync)), ("kvs.stats", "kvs.sync"));
    }
}
