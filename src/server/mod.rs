//! The server: two protocols on one port, any engine behind them.

pub mod config;
pub(crate) mod logging;
pub(crate) mod shutdown;
pub(crate) mod notify;
pub(crate) mod password;
pub(crate) mod tls;
pub(crate) mod metrics;
pub(crate) mod slow_log;
pub(crate) mod step;
pub(crate) mod steps;
pub(crate) mod execute;
pub(crate) mod transaction;

pub use config::Config;
pub use password::{Password, PasswordError};
