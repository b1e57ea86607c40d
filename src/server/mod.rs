//! The server: two protocols on one port, any engine behind them.
pub mod config;
pub(crate) mod logging;
pub(crate) mod shutdown;
pub(crate) mod notify;
pub(crate) mod password;
pub(crate) mod tls;
pub(crate) mod metrics;
pub(crate) mod slow_log;
pub(crate) mod listener;
pub(crate) mod admin;
pub(crate) mod descriptors;
pub(crate) mod serve;
pub(crate) mod failure_log;
pub(crate) mod step;
pub(crate) mod steps;
pub(crate) mod proto_steps;
pub(crate) mod turns;
pub(crate) mod bounds;
pub(crate) mod execute;
pub(crate) mod transaction;
pub(crate) mod peer;
pub(crate) mod turn_away;
pub(crate) mod shared;
pub(crate) mod link;
pub(crate) mod proto_session;
pub(crate) mod resp_session;
pub(crate) mod run;
pub(crate) mod open_engine;
pub(crate) mod kvs_server;
#[cfg(test)]
mod test_engine;

pub use config::Config;
pub use kvs_server::KvsServer;
pub use open_engine::open_engine;
pub use password::{Password, PasswordError};
pub use run::run;
pub use serve::{ServeError, Started, serve};
pub use tls::TlsError;

/// The names of the commands that are counted, by their numbers: those of Redis, then those of the
/// project's own protocol. Empty where a number is no command's.
///
/// ```
/// assert!(kvs::server::command_names().contains(&"kvs.get"));
/// ```
#[must_use]
pub fn command_names() -> Vec<&'static str> {
    let mut names = crate::protocol::resp::table::numbers();
    names.extend(proto_session::COMMAND_NAMES);
    names
}
