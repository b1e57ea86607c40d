//! JSON Lines: an object a line, with base64 for bytes that are not UTF-8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvs::{Change, Versioned};
use serde::{Deserialize, Serialize};

use crate::failure::BadLine;
use crate::format::Record;

/// An object as it stands in the file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<T> {
    #[serde(skip_serializing_if = "Option::is_none", default = "none")]
    key: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default = "none")]
    key_base64: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default = "none")]
    value: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default = "none")]
    value_base64: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at_ms: Option<u64>,
}

/// A change as it stands in a line.
#[derive(Serialize)]
struct ChangeLine<'a> {
    seq: u64,
    #[serde(flatten)]
    line: Line<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
}

fn none<T>() -> Option<T> {
    None
}

/// The record of a line.
pub fn parse(line: &[u8]) -> Result<Record, BadLine> {
    let line: Line<String> = serde_json::from_slice(line).map_err(|error| json_error(&error))?;
    Ok(Record {
        key: bytes("key", line.key, line.key_base64)?,
        value: bytes("value", line.value, line.value_base64)?,
        expires_at_ms: line.expires_at_ms,
    })
}

fn bytes(
    field: &'static str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Vec<u8>, BadLine> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map_err(|source| BadLine::Base64 { field, source })
        }
        _ => Err(BadLine::Field { field }),
    }
}

/// The error without the line number, which is always 1 here.
fn json_error(error: &serde_json::Error) -> BadLine {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    BadLine::Json { reason, column: error.column() }
}

/// Adds the line of a record to `out`.
pub fn format(key: &[u8], found: &Versioned, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let (key, key_base64) = text_or_base64(key);
    let (value, value_base64) = text_or_base64(&found.value);
    let line = Line {
        key,
        key_base64: key_base64.as_deref(),
        value,
        value_base64: value_base64.as_deref(),
        expires_at_ms: found.expires_at_ms,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Adds a line with a key alone to `out`.
pub fn format_key(key: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
    let (key, key_base64) = text_or_base64(key);
    let line = Line { key, key_base64: key_base64.as_deref(), ..Line::default() };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Adds the line of a change to `out`.
pub fn format_change(change: &Change, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let (key, key_base64) = text_or_base64(&change.key);
    let (value, value_base64) = change.value.as_deref().map(text_or_base64).unwrap_or_default();
    let line = Line {
        key,
        key_base64: key_base64.as_deref(),
        value,
        value_base64: value_base64.as_deref(),
        expires_at_ms: change.expires_at_ms,
    };
    let removed = change.value.is_none().then_some(true);
    let line = ChangeLine { seq: change.seq, line, removed };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use kvs::{SetOptions, Store};

    use super::{Versioned, format, parse};

    /// What a store gives for a value.
    fn found(value: &[u8], expires: bool) -> Versioned {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let options = SetOptions::new();
        let options = if expires { options.expire_at_ms(4_102_444_800_000) } else { options };
        store.set_with("", value, options).unwrap();
        store.get_versioned("").unwrap().unwrap()
    }

    #[test]
    fn every_record_comes_back() {
        let parts: [&[u8]; 6] =
            [b"", b"a\"\\", b"\t\r\n\0", "\u{fe0f}é".as_bytes(), b"\xff", b"\xc3"];
        for value in parts {
            let found = found(value, value.len() == 1);
            for key in parts {
                let mut line = Vec::new();
                format(key, &found, &mut line).unwrap();
                assert_eq!(line.iter().position(|b| *b == b'\n'), Some(line.len() - 1));
                let record = parse(&line).unwrap();
                assert_eq!((&*record.key, &*record.value), (key, value));
                assert_eq!(record.expires_at_ms, found.expires_at_ms);
            }
        }
    }

    #[test]
    fn the_form_is_as_documented() {
        let mut out = Vec::new();
        format(b"k", &found(b"\xff\xfe", false), &mut out).unwrap();
        assert_eq!(out, b"{\"key\":\"k\",\"value_base64\":\"//4=\"}\n");
        out.clear();
        format(b"k", &found(b"v", true), &mut out).unwrap();
        let line = "{\"key\":\"k\",\"value\":\"v\",\"expires_at_ms\":4102444800000}\n";
        assert_eq!(out, line.as_bytes());
    }

    #[test]
    fn a_bad_line_is_told_in_one_sentence() {
        let cases = [
            ("", "EOF while parsing a value, at column 0"),
            (r#"{"key":"k"}"#, r#"the object must have either "value" or "value_base64""#),
            (
                r#"{"key":"k","key_base64":"aw==","value":""}"#,
                r#"the object must have either "key" or "key_base64""#,
            ),
            (
                r#"{"key":"k","value":5}"#,
                "invalid type: integer `5`, expected a string, at column 20",
            ),
            (
                r#"{"key":"k","value_base64":"a"}"#,
                r#""value_base64" is not base64: Invalid input length: 1"#,
            ),
        ];
        for (line, said) in cases {
            assert_eq!(parse(line.as_bytes()).err().map(|e| e.to_string()).as_deref(), Some(said));
        }
        assert!(parse(br#"{"key":"k","value":"v","ttl":5}"#).is_err());
        assert!(parse(br#"["k","v"]"#).is_err());
    }
}
