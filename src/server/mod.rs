//! The server: two protocols on one port, any engine behind them.
#![expect(dead_code, reason = "nothing executes steps yet")]

pub(crate) mod step;
pub(crate) mod steps;
