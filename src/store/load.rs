//! Builds the keydir from hints: for each key, the record with the highest seq. A set that has
//! expired counts as a remove.
//!
//! A hint holds neither keys nor values, so nothing else is read. Entries are sorted into the
//! shards of the keydir first (a counting sort: two passes over the hints), because a shard then
//! fits into the processor's cache. The memory for that is given back when this is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::NEVER;
use super::hash::KeyHash;
use super::hint::{self, Entry, Hint};
use super::keydir::{Keydir, Location, Writer, shard_of};
use super::ordered::Ordered;
use super::pins::Pins;
use super::record::Record;
use super::segment::Segment;
use crate::error::{KvsError, Result};
use crate::options::Index;

/// A segment and what is in it.
pub(crate) struct Source {
    pub(crate) segment: Arc<Segment>,
    pub(crate) hint: Hint,
}

/// An entry on its way into the keydir.
#[derive(Clone, Copy, Default)]
struct Candidate {
    place: u64,
    rest: u64,
    seq: u64,
    /// Location and length in units of 8 bytes.
    unit: u32,
    units: u32,
    number: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Gone,
    Set,
    /// A set that will expire.
    Expiring,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// At this time.
    pub(crate) now_ms: u64,
    pub(crate) live_bytes: u64,
    pub(crate) expiring_keys: u64,
    /// When the first record expires; `u64::MAX`: none does.
    pub(crate) next_expiry_ms: u64,
    /// Whether there is a record that has expired or will.
    pub(crate) has_expiries: bool,
}

const _: () = assert!(size_of::<Candidate>() <= 40, "opening takes 40 bytes an entry");

/// Fills an empty keydir with what is there after the seq `upto` and has not expired at `now_ms`,
/// and counts the live bytes of each segment.
pub(crate) fn load(
    sources: &[Source],
    (upto, now_ms): (u64, u64),
    writer: &mut Writer<'_>,
) -> Result<Loaded> {
    let mut starts = vec![0_usize; Keydir::shards() + 1];
    let mut has_expiries = false;
    let counted = || entries(sources).filter(|(_, entry)| entry.seq <= upto);
    for (_, entry) in counted() {
        has_expiries |= entry.expires_at_ms != NEVER;
        if let Some(count) = starts.get_mut(shard_of(entry.hash) + 1) {
            *count += 1;
        }
    }
    for shard in 1..starts.len() {
        let before = starts.get(shard - 1).copied().unwrap_or_default();
        starts.get_mut(shard).into_iter().for_each(|start| *start += before);
    }
    let total = starts.last().copied().unwrap_or_default();
    let mut candidates = Vec::new();
    if candidates.try_reserve_exact(total).is_err() {
        return Err(KvsError::OutOfMemory { bytes: total * size_of::<Candidate>() });
    }
    candidates.resize(total, Candidate::default());
    let mut next = starts.clone();
    for (segment, entry) in counted() {
        let at = next.get_mut(shard_of(entry.hash));
        let place = at.and_then(|at| {
            *at += 1;
            candidates.get_mut(*at - 1)
        });
        if let Some(place) = place {
            *place = candidate(segment, &entry, now_ms);
        }
    }
    let numbers = sources.iter().map(|it| usize::from(it.segment.number) + 1).max();
    let mut live = vec![0_u64; numbers.unwrap_or_default()];
    let (mut seats, mut expiring_keys) = (Vec::new(), 0);
    for shard in 0..Keydir::shards() {
        let range = starts.get(shard).zip(starts.get(shard + 1));
        let slice = range.and_then(|(from, to)| candidates.get(*from..*to)).unwrap_or_default();
        if slice.is_empty() {
            continue;
        }
        expiring_keys += load_shard(slice, &mut seats, &mut live, shard, writer);
    }
    for source in sources {
        let bytes = live.get(usize::from(source.segment.number)).copied().unwrap_or_default();
        source.segment.live_bytes.store(bytes, Ordering::Relaxed);
    }
    let nexts = sources.iter().map(|it| it.segment.next_expiry_ms.load(Ordering::Relaxed));
    Ok(Loaded {
        now_ms,
        live_bytes: live.iter().sum(),
        expiring_keys,
        next_expiry_ms: nexts.min().unwrap_or(u64::MAX),
        has_expiries,
    })
}

/// Reads all keys to which the keydir points, and puts them in order, if that is asked for. A key
/// that cannot be read is an error: nobody would find it.
pub(crate) fn load_ordered(
    index: Index,
    sources: &[Source],
    keydir: &Keydir,
    pins: &Pins,
) -> Result<Option<Ordered>> {
    if index == Index::Hash {
        return Ok(None);
    }
    let pin = pins.pin();
    // Packed, and where each of them lies.
    let (mut bytes, mut keys): (Vec<u8>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    for (segment, entry) in entries(sources) {
        let location = Location::new(segment.number, entry.offset);
        if location.is_some_and(|it| keydir.candidates(&pin, entry.hash).any(|found| found == it)) {
            segment.read(entry.offset, |record, _| {
                if let Record::Set { key, .. } = record {
                    keys.push((bytes.len(), key.len()));
                    bytes.extend_from_slice(key);
                }
            })?;
        }
    }
    let key = |(start, len): &(usize, usize)| bytes.get(*start..start + len).unwrap_or_default();
    keys.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    Ok(Some(Ordered::of(keys.iter().map(key))))
}

/// All entries, each with its segment.
pub(crate) fn entries(sources: &[Source]) -> impl Iterator<Item = (&Segment, Entry)> + '_ {
    sources.iter().flat_map(|source| {
        let segment = &*source.segment;
        source.hint.iter(segment.end()).map(move |entry| (segment, entry))
    })
}

fn candidate(segment: &Segment, entry: &Entry, now_ms: u64) -> Candidate {
    let kind = match (entry.kind, entry.expires_at_ms) {
        (hint::Kind::Remove, _) => Kind::Gone,
        (hint::Kind::Set, NEVER) => Kind::Set,
        (hint::Kind::Set, at) if at <= now_ms => {
            segment.count_expired(entry.len);
            Kind::Gone
        }
        (hint::Kind::Set, at) => {
            segment.note_expiry(at);
            Kind::Expiring
        }
    };
    let units = |bytes: u64| u32::try_from(bytes / 8).unwrap_or(u32::MAX);
    Candidate {
        place: entry.hash.place,
        rest: entry.hash.rest,
        seq: entry.seq,
        unit: units(entry.offset),
        units: units(entry.len),
        number: segment.number,
        kind,
    }
}

/// Finds the newest entry of each key of a shard and puts the sets among them into the keydir.
/// `seats` is a hash table that is used again and again. Answers with how many will expire.
fn load_shard(
    candidates: &[Candidate],
    seats: &mut Vec<u32>,
    live: &mut [u64],
    shard: usize,
    writer: &mut Writer<'_>,
) -> u64 {
    const FREE: u32 = u32::MAX;
    let size = (candidates.len() * 2).next_power_of_two();
    seats.clear();
    seats.resize(size, FREE);
    let (mut keys, mut expiring_keys) = (0, 0);
    for (index, candidate) in candidates.iter().enumerate() {
        // The upper bits chose the shard; the lower ones are as good as new.
        let mut seat = usize::try_from(candidate.place).unwrap_or_default() & (size - 1);
        let index = u32::try_from(index).unwrap_or(FREE);
        while let Some(taken) = seats.get_mut(seat) {
            let Some(other) = candidates.get(*taken as usize) else {
                *taken = index;
                keys += 1;
                break;
            };
            if (other.place, other.rest) == (candidate.place, candidate.rest) {
                if is_newer(candidate, other) {
                    *taken = index;
                }
                break;
            }
            seat = (seat + 1) & (size - 1);
        }
    }
    writer.make_room(shard, keys);
    for seat in seats.iter() {
        let Some(candidate) = candidates.get(*seat as usize) else {
            continue;
        };
        let offset = u64::from(candidate.unit) * 8;
        let Some(location) = Location::new(candidate.number, offset) else {
            continue;
        };
        if candidate.kind != Kind::Gone {
            expiring_keys += u64::from(candidate.kind == Kind::Expiring);
            let hash = KeyHash { place: candidate.place, rest: candidate.rest };
            writer.insert(hash, location);
            if let Some(live) = live.get_mut(usize::from(candidate.number)) {
                *live += u64::from(candidate.units) * 8;
            }
        }
    }
    expiring_keys
}

fn is_newer(candidate: &Candidate, other: &Candidate) -> bool {
    if kvs_bug!("order_by_file") {
        return (candidate.number, candidate.unit) > (other.number, other.unit);
    }
    candidate.seq > other.seq
}
