//! The server: two protocols on one port, any engine behind them.

#[expect(dead_code, reason = "for the connection, which is not there yet")]
pub(crate) mod step;
pub(crate) mod proto_steps;
