//! The log of slow commands: the last ones, in memory, and a line each in the log.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

/// The most arguments that are kept of a command, and the most bytes of each: as Redis does.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// The last commands that were slow.
pub(crate) struct SlowLog {
    threshold_us: u64,
    entries_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
}

/// A command that was slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowCommand {
    /// Counts up from 0, over resets.
    pub(crate) id: u64,
    /// When it was answered, in seconds since 1970-01-01 UTC.
    pub(crate) unix_time_s: u64,
    pub(crate) micros: u64,
    /// Cut short, and without passwords.
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) client: SocketAddr,
    /// As the client calls itself; empty if it does not.
    pub(crate) client_name: Vec<u8>,
}

impl SlowLog {
    /// Keeps the last `entries_max` commands that took at least that long.
    pub(crate) fn new(threshold_us: u64, entries_max: usize) -> SlowLog {
        SlowLog { threshold_us, entries_max, state: Mutex::default() }
    }

    /// Whether a command that took so long is to be noted. This is all that a fast one pays.
    #[inline]
    pub(crate) fn is_slow(&self, micros: u64) -> bool {
        micros >= self.threshold_us && self.entries_max > 0
    }

    /// Notes a command, the name of which is the first argument.
    pub(crate) fn note<'a>(
        &self,
        micros: u64,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
        client: SocketAddr,
        client_name: &[u8],
    ) {
        let arguments = shorten(arguments);
        let printed: Vec<String> =
            arguments.iter().map(|argument| argument.escape_ascii().to_string()).collect();
        let name = client_name.escape_ascii();
        warn!(micros, %client, client_name = %name, "slow command: {}", printed.join(" "));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.entries.truncate(self.entries_max.saturating_sub(1));
        state.entries.push_front(SlowCommand {
            id,
            unix_time_s: now.as_secs(),
            micros,
            arguments,
            client,
            client_name: client_name.to_owned(),
        });
    }

    /// The last `count` of them, the last one first.
    pub(crate) fn get(&self, count: usize) -> Vec<SlowCommand> {
        self.lock().entries.iter().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Forgets them.
    pub(crate) fn reset(&self) {
        self.lock().entries.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The arguments as they are kept: not all, not whole, and without passwords.
fn shorten<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let len = arguments.len();
    let kept = if len > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { len };
    let mut secrets = Secrets::default();
    let mut short: Vec<Vec<u8>> = arguments
        .take(kept)
        .map(|argument| match secrets.is_secret(argument) {
            true => b"(redacted)".to_vec(),
            false => shorten_one(argument),
        })
        .collect();
    if kept < len {
        short.push(format!("... ({} more arguments)", len - kept).into_bytes());
    }
    short
}

fn shorten_one(argument: &[u8]) -> Vec<u8> {
    match argument.split_at_checked(ARGUMENT_BYTES_MAX) {
        Some((head, tail)) if !tail.is_empty() => {
            let mut short = head.to_owned();
            short.extend(format!("... ({} more bytes)", tail.len()).bytes());
            short
        }
        _ => argument.to_owned(),
    }
}

/// Tells which arguments of a command are user names and passwords.
#[derive(Default)]
struct Secrets {
    place: usize,
    is_hello: bool,
    /// How many of the next arguments are secret.
    following: usize,
}

impl Secrets {
    fn is_secret(&mut self, argument: &[u8]) -> bool {
        self.place += 1;
        if self.following > 0 {
            self.following -= 1;
            return true;
        }
        let is = |word: &str| argument.eq_ignore_ascii_case(word.as_bytes());
        if self.place == 1 {
            self.is_hello = is("hello");
            self.following = if is("auth") { usize::MAX } else { 0 };
        } else if self.is_hello && is("auth") {
            self.following = 2;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{SlowLog, shorten};

    fn note(log: &SlowLog, micros: u64, arguments: &[&str]) {
        let arguments = arguments.iter().map(|argument| argument.as_bytes());
        log.note(micros, arguments, "127.0.0.1:5".parse().unwrap(), b"name");
    }

    fn short(arguments: &[&str]) -> String {
        let short = shorten(arguments.iter().map(|argument| argument.as_bytes()));
        short.iter().map(|it| String::from_utf8_lossy(it)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_ones_are_kept_and_come_first() {
        let log = SlowLog::new(100, 3);
        assert!(log.is_slow(100) && !log.is_slow(99));
        for micros in 100..105 {
            note(&log, micros, &["get", "key"]);
        }
        let ids = |count| log.get(count).iter().map(|it| (it.id, it.micros)).collect::<Vec<_>>();
        assert_eq!(ids(10), [(4, 104), (3, 103), (2, 102)]);
        assert_eq!(ids(1), [(4, 104)]);
        assert_eq!(log.len(), 3);
        let last = &log.get(1)[0];
        assert_eq!((&last.arguments[1][..], &last.client_name[..]), (&b"key"[..], &b"name"[..]));
        assert!(last.unix_time_s > 1_700_000_000 && last.client.port() == 5);
        log.reset();
        assert_eq!(log.len(), 0);
        note(&log, 1, &["get"]);
        assert_eq!(ids(10), [(5, 1)], "ids go on");
        assert!(!SlowLog::new(0, 0).is_slow(u64::MAX));
        assert!(SlowLog::new(0, 1).is_slow(0));
    }

    #[test]
    fn arguments_are_cut_short() {
        let long = "x".repeat(130);
        let cut = format!("set {} ... (2 more bytes)", "x".repeat(128)).replace(" ...", "...");
        assert_eq!(short(&["set", &long]), cut);
        assert_eq!(short(&["set", &long[..128]]), format!("set {}", &long[..128]));
        let many: Vec<String> = (0..33).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(short(&many).ends_with(" 30 ... (2 more arguments)"), "{}", short(&many));
        assert!(short(&many[..32]).ends_with(" 30 31"));
    }

    #[test]
    fn passwords_are_left_out() {
        assert_eq!(short(&["AUTH", "user", "hush"]), "AUTH (redacted) (redacted)");
        let hello = ["hello", "3", "Auth", "user", "hush", "SETNAME", "me"];
        assert_eq!(short(&hello), "hello 3 Auth (redacted) (redacted) SETNAME me");
        assert_eq!(short(&["set", "auth", "value"]), "set auth value");
    }
}
