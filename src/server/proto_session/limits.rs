//! How long the keys and values of a request may be.

use crate::batch::Expected;
use crate::error::{KvsError, Result};
use crate::protocol::proto::request::{Action, Operation};
use crate::server::config::Config;

/// Refuses keys and values that are longer than the server takes them.
pub(super) fn check(action: &Action, config: &Config) -> Result<()> {
    let key = |key: &[u8]| check_key(key, config);
    let value = |value: &[u8]| check_value(value, config);
    let condition = |condition: &Option<Expected>| match condition {
        Some(expected) => check_expected(expected, config),
        None => Ok(()),
    };
    match action {
        Action::Get { key: it, .. }
        | Action::Increment { key: it, .. }
        | Action::Expire { key: it, .. } => key(it),
        Action::GetMany { keys, .. } => keys.iter().try_for_each(|it| key(it)),
        Action::Set { key: it, value: new, condition: wanted, .. } => {
            key(it).and_then(|()| value(new)).and_then(|()| condition(wanted))
        }
        Action::Append { key: it, value: new } => key(it).and_then(|()| value(new)),
        Action::Remove { key: it, condition: wanted } => key(it).and_then(|()| condition(wanted)),
        Action::CompareAndSwap(swap) => {
            key(&swap.key)?;
            value(swap.value.as_deref().unwrap_or_default())?;
            check_expected(&swap.expected, config)
        }
        Action::Batch { requirements, operations } => {
            for (it, expected) in requirements {
                key(it).and_then(|()| check_expected(expected, config))?;
            }
            operations.iter().try_for_each(|operation| match operation {
                Operation::Set { key: it, value: new, .. } => key(it).and_then(|()| value(new)),
                Operation::Remove { key: it } => key(it),
            })
        }
    }
}

fn check_key(key: &[u8], config: &Config) -> Result<()> {
    match key.len() > config.key_bytes_max {
        true => Err(KvsError::KeyTooLarge { bytes: key.len(), limit: config.key_bytes_max }),
        false => Ok(()),
    }
}

fn check_value(value: &[u8], config: &Config) -> Result<()> {
    match value.len() > config.value_bytes_max {
        true => Err(KvsError::ValueTooLarge { bytes: value.len(), limit: config.value_bytes_max }),
        false => Ok(()),
    }
}

fn check_expected(expected: &Expected, config: &Config) -> Result<()> {
    match expected {
        Expected::Value(value) => check_value(value, config),
        Expected::Absent | Expected::Present | Expected::Version(_) => Ok(()),
    }
}
