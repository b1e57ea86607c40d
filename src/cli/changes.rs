//! A change as a line.

use super::jsonl;
use crate::Change;

/// Adds the line of a change to `line`: the seq, set or remove, the expiry or -, the key and the
/// value, as they are, with tabs between; or an object.
pub fn format(change: &Change, as_json: bool, line: &mut Vec<u8>) -> serde_json::Result<()> {
    if as_json {
        return jsonl::format_change(change, line);
    }
    let kind = if change.value.is_some() { "set" } else { "remove" };
    let expiry = change.expires_at_ms.map_or_else(|| "-".to_owned(), |at_ms| at_ms.to_string());
    line.extend_from_slice(format!("{}\t{kind}\t{expiry}\t", change.seq).as_bytes());
    line.extend_from_slice(&change.key);
    if let Some(value) = &change.value {
        line.push(b'\t');
        line.extend_from_slice(value);
    }
    line.push(b'\n');
    Ok(())
}
