//! The configuration file: TOML, with one key for each option.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::options::{OPTIONS, OptionSpec};
use super::setting::Kind;
use super::source::{Given, Source};

/// Reads a file. Whether its values make sense is not looked at.
pub(super) fn read(path: &Path) -> Result<Vec<Given>, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::Io { path: path.to_owned(), source: Arc::new(error) })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let path = || path.to_owned();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        ConfigError::Toml { path: path(), line, reason: error.message().to_owned() }
    })?;
    let mut given = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        let Some(option) = OPTIONS.iter().find(|option| option.name == key.get_ref()) else {
            let key = key.get_ref().clone().into_owned();
            return Err(ConfigError::UnknownKey { path: path(), line, key });
        };
        let from = Source::File { path: path(), line };
        match text_of(option, value.get_ref()) {
            Some(text) => given.push(Given { option, text, source: from }),
            None => {
                let value = text.get(value.span()).unwrap_or_default().to_owned();
                let expected = type_of(option);
                return Err(ConfigError::Value { option: option.name, value, expected, from });
            }
        }
    }
    Ok(given)
}

/// The value as a flag would spell it; none: it has another type.
fn text_of(option: &OptionSpec, value: &DeValue<'_>) -> Option<String> {
    match (option.kind, value) {
        (Kind::Text, DeValue::String(text)) => Some(text.clone().into_owned()),
        (Kind::Number | Kind::Factor, DeValue::Integer(integer)) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            Some(number.to_string())
        }
        (Kind::Factor, DeValue::Float(float)) => Some(float.as_str().to_owned()),
        (Kind::Switch, DeValue::Boolean(value)) => Some(value.to_string()),
        _ => None,
    }
}

/// What a value of the wrong type should have been.
fn type_of(option: &OptionSpec) -> String {
    match option.kind {
        Kind::Text => format!("a string: {}", option.expected()),
        Kind::Number | Kind::Factor | Kind::Switch => option.expected(),
    }
}

/// The line of an offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
