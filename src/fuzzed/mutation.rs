//! Mutations: inputs like those that are known, but different.

use crate::store::sim_disk::state::Rng;

/// Longer than this they do not grow.
const BYTES_MAX: usize = 4096;
/// What bugs like to hide behind.
const NUMBERS: [&[u8]; 10] = [
    b"-1",
    b"0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\r\n",
];

/// A mutation of one of these inputs, or, now and then, bytes of chance.
pub fn mutate(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match corpus {
        [] => Vec::new(),
        corpus => corpus[rng.below(corpus.len())].clone(),
    };
    if rng.one_in(16) {
        bytes = (0..rng.below(256)).map(|_| byte(rng)).collect();
    }
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(bytes.len() + 1);
        let end = at + rng.below(bytes.len() - at + 1).min(1 + rng.below(64));
        match rng.below(8) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 if at < bytes.len() => bytes[at] = byte(rng),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let new: Vec<u8> = (0..rng.below(9)).map(|_| byte(rng)).collect();
                bytes.splice(at..at, new);
            }
            5 => drop(bytes.splice(at..end, NUMBERS[rng.below(NUMBERS.len())].iter().copied())),
            6 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            _ if !corpus.is_empty() => {
                let other = &corpus[rng.below(corpus.len())];
                let from = rng.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {}
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn byte(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(256)).unwrap()
}
