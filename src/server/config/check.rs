//! What a single value cannot show: options that do not go together.

use super::error::ConfigError;
use super::options::{Config, OPTIONS};
use super::source::Source;
use crate::error::KvsError;

/// Checks a configuration. `source` says where the value of an option came from.
pub(super) fn check(
    config: &Config,
    source: impl Fn(&'static str) -> Source,
) -> Result<(), ConfigError> {
    check_each(config, &source)?;
    if let Err(KvsError::InvalidOption { option, value, expected }) = config.store_options().check()
    {
        let (expected, from) = (expected.to_owned(), source(option));
        return Err(ConfigError::Value { option, value, expected, from });
    }
    let conflict = |option, reason: String| {
        Err(ConfigError::Conflict { option, reason, from: source(option) })
    };
    match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(_), None) => return conflict("tls_cert_file", "needs tls_key_file, too".to_owned()),
        (None, Some(_)) => return conflict("tls_key_file", "needs tls_cert_file, too".to_owned()),
        _ => {}
    }
    if let Some(addr) = config.admin_addr {
        if !addr.ip().is_loopback() && !config.insecure {
            let reason = format!("is {addr}: not loopback, and metrics are not for everybody");
            return conflict("admin_addr", format!("{reason} (insecure allows it)"));
        }
        if addr == config.addr && addr.port() != 0 {
            return conflict("admin_addr", format!("is {addr}, as is addr"));
        }
    }
    check_limits(config, &conflict)
}

/// A configuration that was put together by a program may hold anything.
fn check_each(config: &Config, source: impl Fn(&'static str) -> Source) -> Result<(), ConfigError> {
    for option in OPTIONS {
        if let Some(value) = option.show(config)
            && let Err(expected) = option.read(&mut config.clone(), &value)
        {
            let from = source(option.name);
            return Err(ConfigError::Value { option: option.name, value, expected, from });
        }
    }
    Ok(())
}

/// What is to be received must fit into what receives it.
fn check_limits(
    config: &Config,
    conflict: &impl Fn(&'static str, String) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    // Beside the key and the value, a command has a name, options and lengths.
    const OVERHEAD: usize = 1024;
    let record = config.key_bytes_max + config.value_bytes_max + OVERHEAD;
    let at_least = [
        ("frame_bytes_max", config.frame_bytes_max, "a key, a value and 1024 more", record),
        ("command_bytes_max", config.command_bytes_max, "a key, a value and 1024 more", record),
        (
            "unauthenticated_buffer_bytes_max",
            config.unauthenticated_buffer_bytes_max,
            "unauthenticated_argument_bytes_max",
            config.unauthenticated_argument_bytes_max,
        ),
        (
            "output_bytes_per_connection_max",
            config.output_bytes_per_connection_max,
            "value_bytes_max and 1024 more",
            config.value_bytes_max + OVERHEAD,
        ),
        (
            "output_bytes_per_connection_max",
            config.output_bytes_per_connection_max,
            "output_high_water_bytes",
            config.output_high_water_bytes,
        ),
        ("input_bytes_max", config.input_bytes_max, "frame_bytes_max", config.frame_bytes_max),
        ("input_bytes_max", config.input_bytes_max, "command_bytes_max", config.command_bytes_max),
        (
            "output_bytes_max",
            config.output_bytes_max,
            "output_bytes_per_connection_max",
            config.output_bytes_per_connection_max,
        ),
    ];
    for (option, bytes, what, least) in at_least {
        if bytes < least {
            return conflict(option, format!("is {bytes}, but must hold {what}: {least} bytes"));
        }
    }
    Ok(())
}
