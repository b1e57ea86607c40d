//! What a snapshot sees: of a key, the record with the highest seq that it is late enough for.
//!
//! A key is looked up in the keydir; if what is there is too new, or if nothing is, the history
//! says what was there before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::group::Seen;
use super::hash::KeyHash;
use super::history::{AsOf, History};
use super::keydir::Location;
use super::ordered::Ordered;
use super::read::Current;
use super::record::Record;
use super::sync::lock;
use super::view::{View, Viewed};
use crate::error::Result;

/// How many places are kept between two looks at what they pin.
const LOOK_EVERY_BYTES: u64 = 64 << 10;

/// Where a key was when the keydir had a generation; none: nowhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) hash: KeyHash,
    pub(crate) location: Option<Location>,
    pub(crate) generation: u64,
}

/// What is looked at, as of a seq, for as long as this lives.
pub(crate) struct Held {
    viewed: Viewed,
    pub(crate) as_of: Arc<AsOf>,
    /// None: of a store that is only read. It has no history, and nothing ends with this.
    core: Option<Arc<Core>>,
}

impl Held {
    /// A store of this process, as it is now.
    pub(crate) fn new(core: Arc<Core>) -> Held {
        let as_of = core.begin_as_of();
        Held { viewed: Arc::<Core>::clone(&core), as_of, core: Some(core) }
    }

    /// A store that is only read, as it was read last.
    pub(crate) fn of_reader(viewed: Viewed) -> Held {
        let now_ms = (*viewed).as_ref().time.expiry_ms();
        Held { viewed, as_of: Arc::new(AsOf::everything(now_ms)), core: None }
    }

    pub(crate) fn view(&self) -> &View {
        (*self.viewed).as_ref()
    }

    pub(crate) fn history(&self) -> Option<&History> {
        self.core.as_ref().map(|core| &core.history)
    }

    pub(crate) fn ordered(&self) -> Option<&Ordered> {
        self.core.as_ref().and_then(|core| core.ordered.as_ref())
    }

    /// Answers with an error if what is looked at is closed, or may be gone.
    pub(crate) fn check(&self) -> Result<()> {
        self.view().check_open().and_then(|()| self.as_of.check())
    }

    /// The places in the history of keys whose hash is in a range.
    pub(crate) fn past_places(&self, from: u64, to: u64) -> Vec<Location> {
        let history = self.history().filter(|history| history.is_active());
        history.map(|history| history.places(from, to, &self.as_of)).unwrap_or_default()
    }

    /// As `with_current`, of a key that was looked up before. If it was seen where it was then, it
    /// is what there is to see: what came later is too late. It is looked up again only if it may
    /// have gone from there, or if another key is there.
    #[inline]
    pub(crate) fn with_placed<R>(
        &self,
        key: &[u8],
        place: Place,
        use_current: impl FnOnce(Current<'_>) -> R,
    ) -> Result<Option<R>> {
        self.as_of.check()?;
        let view = self.view();
        view.check_open()?;
        let mut use_current = Some(use_current);
        let pin = view.pins.pin();
        if let Some(location) = place.location
            && view.keydir.generation() == place.generation
        {
            let segment = view.segment(&pin, location)?;
            let found = segment.read(location.offset(), |record, _| match record {
                Record::Set { seq, expires_at_ms, key: found, value }
                    if found == key && self.as_of.sees(seq, expires_at_ms) =>
                {
                    let current = Current { seq, expires_at_ms, value };
                    use_current.take().map(|use_current| use_current(current))
                }
                _ => None,
            });
            if found.as_ref().is_ok_and(Option::is_some) || use_current.is_none() {
                return found;
            }
        }
        match use_current {
            Some(use_current) => self.with_current(key, place.hash, use_current),
            None => Ok(None),
        }
    }

    /// Hands the record of a key to a function; none: there is none.
    pub(crate) fn with_current<R>(
        &self,
        key: &[u8],
        hash: KeyHash,
        use_current: impl FnOnce(Current<'_>) -> R,
    ) -> Result<Option<R>> {
        self.as_of.check()?;
        let mut use_current = Some(use_current);
        let mut visit = |current: Current<'_>| {
            let is_seen = self.as_of.sees(current.seq, current.expires_at_ms);
            let use_current = use_current.take_if(|_| is_seen);
            use_current.map(|use_current| use_current(current))
        };
        let view = self.view();
        if let Some(found) = view.with_current(key, hash, &mut visit)?.flatten() {
            return Ok(Some(found));
        }
        // Taken before the places are asked for: they may be let go.
        let pin = view.pins.pin();
        for location in self.past_places(hash.place, hash.place) {
            let segment = view.segment(&pin, location)?;
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
        self.as_of.check()?;
        Ok(None)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            let forgotten = core.history.end(&self.as_of);
            core.unpin(&forgotten);
        }
    }
}

impl Core {
    /// Begins a snapshot of what is published now.
    fn begin_as_of(&self) -> Arc<AsOf> {
        // Between two groups: no leader is at work while this is held. Nor is a sweep, without
        // the keydir.
        let _log = lock(&self.log);
        let _writer = self.keydir.write(&self.pins);
        let later = u64::from(kvs_bug!("snapshot_sees_later"));
        let seq = self.published_seq.load(Ordering::Acquire) + later;
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
        self.forget_keys(ordered.take_removed(|| self.history.oldest()))
    }

    /// Takes keys out of the ordered index that were removed, unless they have come again.
    pub(crate) fn forget_keys(&self, keys: Vec<Box<[u8]>>) -> Result<()> {
        let Some(ordered) = &self.ordered else {
            return Ok(());
        };
        let mut failed = Ok(());
        for key in keys {
            // While this is held, nobody sets it again.
            let _writer = self.keydir.write(&self.pins);
            match self.find(&self.pins.pin(), &key, self.hasher.hash(&key)) {
                // Set and removed again since: it is another snapshot's.
                Ok(None) if ordered.is_removed(&key) => {}
                Ok(None) => ordered.remove(&key),
                Ok(Some(_)) => {}
                Err(error) => {
                    ordered.remove_later(&key, 0);
                    failed = Err(error);
                }
            }
        }
        failed
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
}
