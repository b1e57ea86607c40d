//! The log: lines on standard error, for people or as JSON.

use std::io;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use super::config::{Config, LogFormat, LogLevel};

/// Sends what is logged from here on to standard error. Where somebody else has done so before, in
/// the same process, theirs goes on.
pub(crate) fn start(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // It would be told on standard error, too: where that is closed, whoever logs would panic.
    let log = log.log_internal_errors(false);
    // An error says that there is a log already.
    let _ = match config.log_format {
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
