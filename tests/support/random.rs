//! Random numbers that are the same for the same seed (SplitMix64).
#![allow(dead_code, reason = "each test takes what it needs")]

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    /// One for each pair of numbers.
    pub fn of(seed: u64, other: u64) -> Random {
        Random::new(mix(seed) ^ other)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let index = self.below(u64::try_from(among.len()).unwrap());
        &among[usize::try_from(index).unwrap()]
    }
}

pub fn mix(number: u64) -> u64 {
    let mut mixed = number ^ (number >> 30);
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
