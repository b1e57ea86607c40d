//! Several keys, read at one moment.
//!
//! Each is read by itself, and where its record lies is remembered. When all are read, it is looked
//! at again: those that have not moved were as they were read all at one moment, behind the last
//! read and before the first look. Those that have are read anew; where some move again and again,
//! the writer is kept out for once. Nothing moves and comes back unseen: while a pin is held no
//! place of a record is used again, and inserts are counted. A key that expires meanwhile may be
//! among them.

use super::hash::KeyHash;
use super::keydir::Location;
use super::map::prefetch;
use super::mark::Mark;
use super::pins::Pin;
use super::read::Versioned;
use super::view::View;
#[cfg(feature = "server")]
use crate::error::KvsError;
use crate::error::Result;

/// How many keys memory is asked for at once: about what a core can wait for.
const WINDOW: usize = 16;
/// How often what has moved is read anew before the writer is kept out.
const ROUNDS: usize = 64;

/// What was read of a key, with the bytes of its value, and what its place in the index was before.
struct Read<R> {
    found: Option<R>,
    bytes: usize,
    mark: Mark,
}

impl View {
    /// Reads many keys at one moment. It ends, after one key at the earliest, when the values have
    /// `bytes_max` bytes together.
    pub(crate) fn get_many<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        bytes_max: usize,
        take: impl Fn(Versioned) -> R,
    ) -> Result<Vec<Option<R>>> {
        let moment = self.time.moment();
        self.read_together(keys, bytes_max, |key, hash| {
            let found = self.get_at(key, hash, &moment, usize::MAX)?;
            Ok(found.map(|found| (found.value.len(), take(found))))
        })
    }

    /// Reads many keys at one moment, if no value, and not all together, have more bytes than
    /// `bytes_max`.
    #[cfg(feature = "server")]
    pub(crate) fn get_small<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        bytes_max: usize,
    ) -> Result<Vec<Option<Versioned>>> {
        let moment = self.time.moment();
        let found = self.read_together(keys, bytes_max.saturating_add(1), |key, hash| {
            let found = self.get_at(key, hash, &moment, bytes_max)?;
            Ok(found.map(|found| (found.value.len(), found)))
        })?;
        let bytes: usize = found.iter().flatten().map(|found| found.value.len()).sum();
        match found.len() < keys.len() || bytes > bytes_max {
            true => Err(KvsError::AnswerTooLarge { limit: bytes_max }),
            false => Ok(found),
        }
    }

    /// Reads what many keys have beside their values, which are empty, at one moment.
    #[cfg(feature = "server")]
    pub(crate) fn get_versions<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> Result<Vec<Option<Versioned>>> {
        let moment = self.time.moment();
        self.read_together(keys, usize::MAX, |key, hash| {
            let seen = self.find(&self.pins.pin(), key, hash)?;
            let seen = seen.filter(|seen| !moment.is_over(seen.expires_at_ms));
            Ok(seen.map(|seen| (0, Versioned::without_value(seen))))
        })
    }

    /// Reads keys each for itself, in this order; of a batch, all is seen or nothing. It ends as
    /// `get_many` does; a value of more than `value_bytes_max` bytes is an error.
    #[cfg(feature = "server")]
    pub(crate) fn get_each<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        (bytes_max, value_bytes_max): (usize, usize),
    ) -> Result<Vec<Option<Versioned>>> {
        self.check_open()?;
        let hashes = self.hashes(keys);
        self.keydir.consistently(|| {
            let (moment, pin) = (self.time.moment(), self.pins.pin());
            let mut found = Vec::with_capacity(keys.len());
            self.each(&pin, (keys, &hashes), bytes_max, |key, hash| {
                let read = self.get_at(key, hash, &moment, value_bytes_max)?;
                let bytes = read.as_ref().map_or(0, |read| read.value.len());
                found.push(read);
                Ok(bytes)
            })?;
            Ok(found)
        })
    }

    fn read_together<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        bytes_max: usize,
        read: impl Fn(&[u8], KeyHash) -> Result<Option<(usize, R)>>,
    ) -> Result<Vec<Option<R>>> {
        self.check_open()?;
        let hashes = self.hashes(keys);
        let pin = self.pins.pin();
        let mut all: Vec<Read<R>> = Vec::with_capacity(keys.len());
        self.each(&pin, (keys, &hashes), bytes_max, |key, hash| {
            let mark = self.keydir.mark(&pin, hash);
            let (bytes, found) = read(key, hash)?.unzip();
            let bytes = bytes.unwrap_or_default();
            all.push(Read { found, bytes, mark });
            Ok(bytes)
        })?;
        // One key is always at one moment.
        if all.len() > 1 {
            let again = |moved: Vec<usize>, all: &mut Vec<Read<R>>| {
                for index in moved {
                    let (Some(key), Some(hash), Some(place)) =
                        (keys.get(index), hashes.get(index), all.get_mut(index))
                    else {
                        continue;
                    };
                    let mark = self.keydir.mark(&pin, *hash);
                    let (bytes, found) = read(key.as_ref(), *hash)?.unzip();
                    *place = Read { found, bytes: bytes.unwrap_or_default(), mark };
                }
                // Longer values may have come.
                let mut bytes = 0;
                let is_asked_for = |read: &&Read<R>| {
                    let is_asked_for = bytes < bytes_max;
                    bytes = bytes.saturating_add(read.bytes);
                    is_asked_for
                };
                all.truncate(all.iter().take_while(is_asked_for).count());
                Ok(())
            };
            self.settle(&pin, &hashes, &mut all, again)?;
        }
        Ok(all.into_iter().map(|read| read.found).collect())
    }

    /// Reads what has moved anew, until nothing has.
    fn settle<R>(
        &self,
        pin: &Pin<'_>,
        hashes: &[KeyHash],
        all: &mut Vec<Read<R>>,
        again: impl Fn(Vec<usize>, &mut Vec<Read<R>>) -> Result<()>,
    ) -> Result<()> {
        let moved = |all: &[Read<R>]| {
            let both = all.iter().zip(hashes).enumerate();
            let moved =
                both.filter(|(_, (read, hash))| !self.keydir.is_marked(pin, **hash, read.mark));
            moved.map(|(index, _)| index).collect::<Vec<usize>>()
        };
        for _ in 0..ROUNDS {
            // Half a batch must not be taken for what is there.
            let moved = self.keydir.consistently(|| moved(all.as_slice()));
            if moved.is_empty() {
                return Ok(());
            }
            again(moved, all)?;
        }
        self.keydir.alone(|| again(moved(all.as_slice()), all))
    }

    /// Reads keys one after the other until they have `bytes_max` bytes. The processor waits for
    /// several of them at a time.
    fn each<K: AsRef<[u8]>>(
        &self,
        pin: &Pin<'_>,
        (keys, hashes): (&[K], &[KeyHash]),
        bytes_max: usize,
        mut read: impl FnMut(&[u8], KeyHash) -> Result<usize>,
    ) -> Result<()> {
        let mut bytes = 0;
        for (keys, hashes) in keys.chunks(WINDOW).zip(hashes.chunks(WINDOW)) {
            self.prefetch(pin, hashes);
            for (key, hash) in keys.iter().zip(hashes) {
                bytes += read(key.as_ref(), *hash)?;
                if bytes >= bytes_max {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn hashes<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<KeyHash> {
        keys.iter().map(|key| self.hasher.hash(key.as_ref())).collect()
    }

    /// Asks for the slots of these keys, then for the records that they point to.
    pub(crate) fn prefetch(&self, pin: &Pin<'_>, hashes: &[KeyHash]) {
        self.locate(pin, hashes, |_, _| ());
    }

    /// As `prefetch`, and tells of each key where a record of it may lie, if there is one.
    #[inline]
    pub(crate) fn locate(
        &self,
        pin: &Pin<'_>,
        hashes: &[KeyHash],
        mut tell: impl FnMut(KeyHash, Option<Location>),
    ) {
        for hash in hashes {
            prefetch(self.keydir.address(pin, *hash));
        }
        for hash in hashes {
            let location = self.keydir.candidates(pin, *hash).next();
            if let Some(location) = location
                && let Ok(segment) = self.segment(pin, location)
            {
                segment.prefetch(location.offset());
            }
            tell(*hash, location);
        }
    }
}
