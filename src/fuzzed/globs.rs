//! Patterns as KEYS and SCAN MATCH have them: matching ends, and some answers are certain.

use super::Input;
use crate::protocol::glob::matches;

/// A pattern with its length before it, and a text behind it.
pub fn globs(data: &[u8]) {
    let mut input = Input::new(data);
    let len = input.byte();
    let (pattern, text) = (input.take(len.into()), input.rest());
    let matched = matches(pattern, text);
    if pattern.iter().all(|byte| !br"*?[]\^-".contains(byte)) {
        assert_eq!(matched, pattern == text);
    }
    let literal: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(matches(&literal, text), "it is its own pattern");
    assert!(matches(b"*", text));
    // Redis matches nothing but that with the empty text.
    if text.is_empty() {
        return;
    }
    let around = [b"*", literal.as_slice(), b"*"].concat();
    assert!(matches(&around, &[pattern, text, pattern].concat()));
}
