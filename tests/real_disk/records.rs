//! What the tests write.

use kvs::{Durability, WriteOptions};

/// The bytes of each value.
pub const VALUE_BYTES: usize = 4000;

pub fn key(number: usize) -> String {
    format!("key {number}")
}

/// A value that tells its number.
pub fn marked(number: usize) -> Vec<u8> {
    let mut value = format!("<{number}>").into_bytes();
    value.resize(VALUE_BYTES, b'v');
    value
}

pub fn durably() -> WriteOptions {
    WriteOptions::new().durability(Durability::Always)
}
