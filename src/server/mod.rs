//! The server: two protocols on one port, any engine behind them.

pub mod config;
pub(crate) mod step;

pub use config::Config;
