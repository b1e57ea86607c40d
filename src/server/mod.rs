//! The server: two protocols on one port, any engine behind them.

pub(crate) mod step;
pub(crate) mod steps;
