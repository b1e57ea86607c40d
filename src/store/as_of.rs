//! What a snapshot sees: of a key, the record with the highest seq that it is late enough for.
//!
//! A key is looked up in the keydir; if what is there is too new, or if nothing is, the history
//! says what was there before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::group::Seen;
use super::hash::KeyHash;
use super::history::AsOf;
use super::keydir::Location;
use super::ordered::Ordered;
use super::read::Current;
use super::record::Record;
use super::sync::lock;
use crate::error::Result;

/// How many places are kept between two looks at what they pin.
const LOOK_EVERY_BYTES: u64 = 64 << 10;

/// A snapshot that is held by somebody: it ends when this is dropped.
pub(crate) struct Held {
    pub(crate) core: Arc<Core>,
    pub(crate) as_of: Arc<AsOf>,
}

impl Held {
    pub(crate) fn new(core: Arc<Core>) -> Held {
        let as_of = core.begin_as_of();
        Held { core, as_of }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let forgotten = self.core.history.end(&self.as_of);
        self.core.unpin(&forgotten);
    }
}

impl Core {
    /// Begins a snapshot of what is published now.
    fn begin_as_of(&self) -> Arc<AsOf> {
        // Between two groups: no leader is at work while this is held. Nor is a sweep, without
        // the keydir.
        let _log = lock(&self.log);
        let _writer = self.keydir.write(&self.pins);
        let seq = self.published_seq.load(Ordering::Acquire);
        self.history.begin(seq, self.time.expiry_ms())
    }

    /// Keeps the place of a record that goes out of the keydir with the write `until`, if a
    /// snapshot sees it. The caller is the keydir's writer, and has not taken it out yet.
    pub(crate) fn keep_for_snapshots(&self, hash: KeyHash, seen: Seen, until: u64) {
        if !self.history.is_active() || kvs_bug!("forget_the_past") {
            return;
        }
        let pin = self.pins.pin();
        let Ok(segment) = self.segment(&pin, seen.location) else {
            return;
        };
        if self.history.keep(hash.place, seen.location, seen.seq, until) {
            segment.pinned.fetch_add(1, Ordering::AcqRel);
            let (_, bytes) = self.history.size();
            if bytes % LOOK_EVERY_BYTES == 0 {
                self.bound_snapshots();
            }
        }
    }

    /// Takes a key out of the ordered index, if there is one: now, or when no snapshot sees it.
    pub(crate) fn forget_key(&self, key: &[u8], until: u64) {
        match &self.ordered {
            Some(ordered) if self.history.is_active() => ordered.remove_later(key, until),
            Some(ordered) => ordered.remove(key),
            None => {}
        }
    }

    /// Takes the keys out of the ordered index that were removed and that no snapshot sees.
    pub(crate) fn forget_removed_keys(&self) -> Result<()> {
        let Some(ordered) = &self.ordered else {
            return Ok(());
        };
        for key in ordered.take_removed(self.history.oldest()) {
            // While this is held, nobody sets it again.
            let _writer = self.keydir.write(&self.pins);
            if self.find(&self.pins.pin(), &key, self.hasher.hash(&key))?.is_none() {
                ordered.remove(&key);
            }
        }
        Ok(())
    }

    fn unpin(&self, places: &[Location]) {
        let pin = self.pins.pin();
        for place in places {
            if let Ok(segment) = self.segment(&pin, *place) {
                segment.pinned.fetch_sub(1, Ordering::AcqRel);
            }
        }
        if !places.is_empty() {
            self.bell.wake(|rung| rung.compaction = true);
        }
    }

    /// What snapshots pin, in bytes.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        let keys = self.ordered.as_ref().map_or(0, Ordered::removed_bytes);
        self.segments.graveyard_bytes().1 + self.history.size().1 + keys
    }

    /// Ends the oldest snapshots while they pin too much.
    pub(crate) fn bound_snapshots(&self) {
        while self.history.is_active()
            && self.snapshot_bytes() > self.options.snapshot_bytes
            && self.end_oldest_snapshot()
        {}
    }

    /// False: there is none.
    pub(crate) fn end_oldest_snapshot(&self) -> bool {
        let forgotten = self.history.end_oldest();
        forgotten.as_deref().is_some_and(|forgotten| {
            self.unpin(forgotten);
            true
        })
    }

    /// Hands the record that a snapshot sees of a key to a function; none: it sees none.
    pub(crate) fn with_current_at<R>(
        &self,
        as_of: &AsOf,
        key: &[u8],
        hash: KeyHash,
        use_current: impl FnOnce(Current<'_>) -> R,
    ) -> Result<Option<R>> {
        as_of.check()?;
        let mut use_current = Some(use_current);
        let mut visit = |current: Current<'_>| {
            let use_current =
                use_current.take_if(|_| as_of.sees(current.seq, current.expires_at_ms));
            use_current.map(|use_current| use_current(current))
        };
        if let Some(found) = self.with_current(key, hash, &mut visit)?.flatten() {
            return Ok(Some(found));
        }
        // Taken before the places are asked for: they may be let go.
        let pin = self.pins.pin();
        for location in self.history.places(hash.place, hash.place, as_of) {
            let segment = self.segment(&pin, location)?;
            let found = segment.read(location.offset(), |record, _| match record {
                Record::Set { seq, expires_at_ms, key: found, value } if found == key => {
                    visit(Current { seq, expires_at_ms, value })
                }
                _ => None,
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        as_of.check()?;
        Ok(None)
    }
}
