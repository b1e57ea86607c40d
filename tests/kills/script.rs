//! What a writer does: each operation follows from the seed, the writer and its number.

use super::random::Random;

/// The keys of each writer; no two writers share one.
const KEYS: u64 = 24;
const BATCH_MAX: u64 = 20;
/// Far behind any test, in milliseconds since 1970-01-01 UTC.
const FAR_MS: u64 = 4_102_444_800_000;

/// What happens to a key.
pub struct Change {
    pub key: Vec<u8>,
    pub what: What,
}

pub enum What {
    Set { value: Vec<u8>, expires_at_ms: Option<u64> },
    Remove,
}

pub enum Operation {
    One(Change),
    /// All or nothing.
    Batch(Vec<Change>),
    Sync,
}

impl Operation {
    pub fn changes(&self) -> &[Change] {
        match self {
            Operation::One(change) => std::slice::from_ref(change),
            Operation::Batch(changes) => changes,
            Operation::Sync => &[],
        }
    }
}

/// The operation of a writer with this number. Numbers are never used again, so every value tells
/// who wrote it.
pub fn operation(seed: u64, writer: usize, number: u64) -> Operation {
    let writer = u64::try_from(writer).unwrap();
    let mut random = Random::of(seed ^ (writer << 48), number);
    match random.below(100) {
        0..2 => Operation::Sync,
        2..20 => {
            let first = random.below(KEYS);
            let count = 2 + random.below(BATCH_MAX - 1);
            let changes =
                (first..first + count).map(|key| change(&mut random, writer, key % KEYS, number));
            Operation::Batch(changes.collect())
        }
        _ => {
            let key = random.below(KEYS);
            Operation::One(change(&mut random, writer, key, number))
        }
    }
}

fn change(random: &mut Random, writer: u64, key: u64, number: u64) -> Change {
    let key = format!("writer {writer} key {key}").into_bytes();
    if random.one_in(4) {
        return Change { key, what: What::Remove };
    }
    let value = value(random, &key, number);
    let expires_at_ms = random.one_in(5).then_some(FAR_MS + number);
    Change { key, what: What::Set { value, expires_at_ms } }
}

/// Its key, number and length, and bytes that no other value has. A few are longer than a segment.
fn value(random: &mut Random, key: &[u8], number: u64) -> Vec<u8> {
    let length = match random.below(200) {
        0 => 4096 + random.below(4096),
        1..10 => random.below(2000),
        10..40 => 0,
        _ => random.below(200),
    };
    let mut value =
        format!("{} number {number} length {length} ", String::from_utf8_lossy(key)).into_bytes();
    let mut left = usize::try_from(length).unwrap();
    while left > 0 {
        let bytes = random.next().to_le_bytes();
        let taken = left.min(bytes.len());
        value.extend_from_slice(&bytes[..taken]);
        left -= taken;
    }
    value
}
