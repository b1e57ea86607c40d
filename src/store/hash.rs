//! The keyed hash of a key: where it lives in the keydir, and who it is in a hint.
//!
//! SipHash-1-3 with 128 bits (Aumasson and Bernstein, 2012): a pseudo-random function of its
//! seed, so nobody who does not know the seed can make keys collide.

use siphasher::sip128::SipHasher13;

/// The seed of a store's hashes: random, in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashSeed(pub(crate) [u64; 2]);

/// The hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash {
    /// Places the key in the keydir.
    pub(crate) place: u64,
    /// Tells keys of the same place apart.
    pub(crate) rest: u64,
}

/// The part of a hash that hints keep: keys with an equal identity are the same key.
pub(crate) const IDENTITY_BYTES: usize = 12;
const _: () = assert!(IDENTITY_BYTES * 8 >= 96, "two keys of a store never share an identity");

/// Hashes keys.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(SipHasher13);

impl Hasher {
    pub(crate) fn new(seed: HashSeed) -> Hasher {
        let HashSeed([key0, key1]) = seed;
        Hasher(SipHasher13::new_with_keys(key0, key1))
    }

    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = self.0.hash(key);
        KeyHash { place: hash.h1, rest: hash.h2 }
    }
}

impl KeyHash {
    pub(crate) fn identity(self) -> [u8; IDENTITY_BYTES] {
        let mut identity = [0; IDENTITY_BYTES];
        let bytes = self.place.to_le_bytes().into_iter().chain(self.rest.to_le_bytes());
        identity.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        identity
    }

    /// The hash with that identity, as far as the identity tells.
    pub(crate) fn from_identity(identity: [u8; IDENTITY_BYTES]) -> KeyHash {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = identity;
        KeyHash {
            place: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            rest: u64::from(u32::from_le_bytes([i, j, k, l])),
        }
    }
}
