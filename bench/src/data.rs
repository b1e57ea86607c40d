//! Keys, values and random orders: deterministic, and cheap beside any operation of a store.

use serde::{Deserialize, Serialize};

/// No key is longer.
pub const KEY_MAX: usize = 256;

/// The values are windows into this many random bytes: incompressible, and no cost to make.
const POOL_BYTES: usize = 4 << 20;

/// How many keys there are and how long everything is.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    pub keys: u64,
    pub key_len: usize,
    pub value_len: usize,
}

impl Shape {
    /// The bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.keys * (self.key_len + self.value_len) as u64
    }
}

pub struct Data {
    pub shape: Shape,
    pool: Vec<u8>,
}

impl Data {
    pub fn new(shape: Shape) -> Data {
        assert!((8..=KEY_MAX).contains(&shape.key_len), "a key has 8 to {KEY_MAX} bytes");
        let mut rng = Rng::new(0xda7a);
        let pool = (0..POOL_BYTES / 8).flat_map(|_| rng.next().to_le_bytes()).collect();
        Data { shape, pool }
    }

    /// The key of an index; different for different indices, random in order.
    pub fn key<'a>(&self, index: u64, buffer: &'a mut [u8; KEY_MAX]) -> &'a [u8] {
        let key = &mut buffer[..self.shape.key_len];
        for (word, part) in key.chunks_mut(8).enumerate() {
            // The first word is a bijection of the index.
            let mixed = mix(index ^ ((word as u64) << 56)).to_le_bytes();
            part.copy_from_slice(&mixed[..part.len()]);
        }
        key
    }

    /// An index whose key was never set.
    pub fn missing(&self, random: u64) -> u64 {
        self.shape.keys + (1 << 40) + random % self.shape.keys
    }

    /// The value that the load gives to a key.
    pub fn value(&self, index: u64) -> &[u8] {
        let places = (POOL_BYTES - self.shape.value_len) as u64;
        let at = below(mix(index ^ 0x5eed), places) as usize;
        &self.pool[at..at + self.shape.value_len]
    }

    /// Every index once, in an order unlike the one of the load.
    pub fn shuffled(&self) -> impl Iterator<Item = u64> {
        let keys = self.shape.keys;
        // A prime that divides no sensible count, so stepping by it visits every index.
        const STEP: u64 = 2_654_435_761;
        assert!(!keys.is_multiple_of(STEP));
        (0..keys).map(move |i| i.wrapping_mul(STEP) % keys)
    }
}

/// splitmix64, as a stream.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(mix(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A uniform number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        below(self.next(), limit)
    }
}

fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// The finaliser of splitmix64, a bijection.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of indices that is drawn before the clock runs, and then walked in a circle.
pub struct Drawn(Vec<u32>);

impl Drawn {
    const COUNT: usize = 1 << 20;

    pub fn uniform(keys: u64, rng: &mut Rng) -> Drawn {
        Drawn((0..Self::COUNT).map(|_| rng.below(keys) as u32).collect())
    }

    /// Zipfian with exponent 0.99, as YCSB draws it (Gray et al., "Quickly generating
    /// billion-record synthetic databases"); the popular keys are scattered over all indices.
    pub fn zipfian(keys: u64, rng: &mut Rng) -> Drawn {
        const THETA: f64 = 0.99;
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let n = keys as f64;
        let all = zeta(keys);
        let alpha = 1.0 / (1.0 - THETA);
        let eta = (1.0 - (2.0 / n).powf(1.0 - THETA)) / (1.0 - zeta(2) / all);
        let rank = |u: f64| {
            let scaled = u * all;
            if scaled < 1.0 {
                0
            } else if scaled < 1.0 + 0.5_f64.powf(THETA) {
                1
            } else {
                (n * (eta * u - eta + 1.0).powf(alpha)) as u64
            }
        };
        let draw = |_| {
            let uniform = (rng.next() >> 11) as f64 / (1_u64 << 53) as f64;
            below(mix(rank(uniform) + 1), keys) as u32
        };
        Drawn((0..Self::COUNT).map(draw).collect())
    }

    pub fn at(&self, step: u64) -> u64 {
        u64::from(self.0[step as usize % Self::COUNT])
    }
}
