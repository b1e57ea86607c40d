//! The parts of an open store, side by side. What they do together stands in the files behind
//! this one: each adds methods to `Core` for one theme.
//!
//! Locks are taken in this order: compaction, log, next, manifest, keydir writer, watermark,
//! history, retained history, board.

use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::appender::Appender;
use super::clock::Clock;
use super::disk::Disk;
use super::durable::Durable;
use super::fork::Owner;
use super::group::Commits;
use super::history::History;
use super::load::Loaded;
use super::manifest::Manifest;
use super::names;
use super::notice::{Board, Readable};
use super::ordered::Ordered;
use super::queue::Queue;
use super::retained::Retained;
use super::segment::HEADER_BYTES;
use super::sync::lock;
use super::view::View;
use crate::error::{KvsError, Result};
use crate::options::Options;

/// What a store needs of the world.
pub(crate) struct Environment {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where salts and identities come from.
    pub(crate) seed: u64,
    /// Whether threads do the background work. Without them, its steps are called.
    pub(crate) background: bool,
}

pub(crate) struct Core {
    pub(crate) owner: Owner,
    pub(crate) options: Options,
    pub(crate) view: View,
    pub(crate) history: History,
    /// With the ordered index.
    pub(crate) ordered: Option<Ordered>,
    pub(crate) queue: Queue<Commits>,
    pub(crate) log: Mutex<Log>,
    /// The segment in which the log will go on.
    pub(crate) next: Mutex<Option<Appender>>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) durable: Durable,
    /// Held by the one compaction that runs.
    pub(crate) compaction: Mutex<()>,
    /// The seq that the next write gets. Changed under the queue's lock only.
    pub(crate) next_seq: AtomicU64,
    /// Seqs below this may be given: a copy of what the manifest says.
    pub(crate) reserved_seq: AtomicU64,
    /// The highest seq that readers can see.
    pub(crate) published_seq: AtomicU64,
    /// The log may lack records up to this seq, which was published: compaction went through them.
    pub(crate) compacted_seq: AtomicU64,
    pub(crate) retained: Retained,
    /// How many watch what is published.
    pub(crate) watches: AtomicU64,
    pub(crate) space: Space,
    pub(crate) counters: Counters,
    pub(crate) random: Random,
    /// Whether the ballast is there.
    pub(crate) has_ballast: Mutex<bool>,
    /// Whether threads do the background work.
    pub(crate) background: bool,
    pub(crate) bell: Bell,
    /// Where other processes are told how far they may read.
    pub(crate) board: Board,
}

/// The tail of the log.
pub(crate) struct Log {
    pub(crate) appender: Appender,
    /// Where commits begin: behind the header, or behind a first mark.
    pub(crate) begin: u64,
    /// While the durable watermark is not above this, no mark is needed.
    pub(crate) marked_upto: u64,
    /// How far a sync in the background was asked for.
    pub(crate) asked_upto: u64,
    /// Where what is published ends.
    pub(crate) published_end: u64,
}

impl Log {
    pub(crate) fn new(appender: Appender, durable_upto: u64) -> Log {
        let asked_upto = appender.end();
        let begin = HEADER_BYTES as u64;
        let published_end = appender.end();
        Log { appender, begin, marked_upto: durable_upto, asked_upto, published_end }
    }

    /// Whether there is nothing in the segment but the mark with which it begins.
    pub(crate) fn is_empty(&self) -> bool {
        self.appender.end() <= self.begin
    }
}

/// How much disk space is in use, and whether writers have to wait for compaction.
pub(crate) struct Space {
    /// The bytes of the records to which the keydir points.
    pub(crate) live_bytes: AtomicU64,
    /// The keys in the keydir that expire some time, and when the first of them may.
    pub(crate) expiring_keys: AtomicU64,
    pub(crate) next_expiry_ms: AtomicU64,
    /// The bytes of segment files that a running compaction has written.
    pub(crate) output_bytes: AtomicU64,
    /// Set while segment files take more than the bound allows.
    pub(crate) is_over: AtomicBool,
    /// How much is left of the room between where compaction begins and the bound.
    pub(crate) room_percent: AtomicU32,
    /// Set when compaction has found nothing to do or has failed: waiting would be in vain.
    pub(crate) is_stuck: AtomicBool,
    pub(crate) lock: Mutex<()>,
    pub(crate) changed: Condvar,
}

impl Space {
    pub(crate) fn new(loaded: &Loaded) -> Space {
        Space {
            live_bytes: AtomicU64::new(loaded.live_bytes),
            expiring_keys: AtomicU64::new(loaded.expiring_keys),
            next_expiry_ms: AtomicU64::new(loaded.next_expiry_ms),
            output_bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            room_percent: AtomicU32::new(100),
            is_stuck: AtomicBool::new(false),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }
}

/// What is counted for `stats`.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) compactions: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) recovered_bytes: AtomicU64,
    pub(crate) truncated_bytes: AtomicU64,
    /// What opening took, in microseconds.
    pub(crate) open_us: AtomicU64,
    /// Groups that were appended, and the requests in them. Only a leader writes them.
    pub(crate) groups: AtomicU64,
    pub(crate) grouped_writes: AtomicU64,
    pub(crate) last_background_error: Mutex<Option<KvsError>>,
}

impl Counters {
    pub(crate) fn new(recovered_bytes: u64, truncated_bytes: u64) -> Counters {
        Counters {
            recovered_bytes: AtomicU64::new(recovered_bytes),
            truncated_bytes: AtomicU64::new(truncated_bytes),
            ..Counters::default()
        }
    }

    /// Counts a group of so many writes. The caller is the leader: nobody else counts.
    #[inline]
    pub(crate) fn count_group(&self, writes: u64) {
        let add = |counter: &AtomicU64, more| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.groups, 1);
        add(&self.grouped_writes, writes);
    }
}

/// Random numbers from a seed (splitmix64, Steele et al., 2014): as good as the seed.
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How the background threads are woken.
#[derive(Default)]
pub(crate) struct Bell {
    pub(crate) rung: Mutex<Rung>,
    pub(crate) ring: Condvar,
    /// Told when something was published, if somebody watches, and when the store is closed.
    pub(crate) published: Condvar,
}

/// For whom the bell was rung.
#[derive(Debug, Default)]
pub(crate) struct Rung {
    pub(crate) sync: bool,
    pub(crate) compaction: bool,
    /// There is something new for other processes to read.
    pub(crate) readers: bool,
    pub(crate) stop: bool,
}

impl Bell {
    pub(crate) fn wake(&self, set: impl FnOnce(&mut Rung)) {
        set(&mut lock(&self.rung));
        self.ring.notify_all();
    }
}

/// A core reads as its view does.
impl Deref for Core {
    type Target = View;

    #[inline]
    fn deref(&self) -> &View {
        &self.view
    }
}

impl AsRef<View> for Core {
    fn as_ref(&self) -> &View {
        &self.view
    }
}

impl Core {
    /// Answers with an error if nothing may be written.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.owner.is_gone() {
            return Err(KvsError::Forked);
        }
        self.durable.check()
    }

    /// Tells other processes that they may read everything that is published.
    pub(crate) fn post_notice(&self) -> Result<()> {
        self.board.catch_up();
        let log = lock(&self.log);
        let readable = self.readable(&log)?;
        drop(log);
        self.post(readable).inspect_err(|_| self.ring_for_readers())
    }

    /// As `post_notice`, for those who have the lock of the log.
    pub(crate) fn post_end_of(&self, log: &Log) -> Result<()> {
        self.post(self.readable(log)?)
    }

    /// Between two commits everything in the log is published; with a failed sync, that ends.
    fn readable(&self, log: &Log) -> Result<Readable> {
        self.durable.check()?;
        Ok(Readable { segment: log.appender.segment.id, end: log.appender.end() })
    }

    fn post(&self, readable: Readable) -> Result<()> {
        let posted = self.board.post(readable);
        posted.map_err(|error| KvsError::io("write", &self.shelf.path(names::LOCK), error))
    }

    /// Lets the syncing thread know that there is something new to post. Costs nothing while it
    /// knows already.
    #[inline]
    pub(crate) fn ring_for_readers(&self) {
        if self.board.fall_behind() {
            self.bell.wake(|rung| rung.readers = true);
        }
    }

    /// The size that a new segment is to have, in bytes.
    pub(crate) fn segment_capacity(&self) -> u64 {
        segment_capacity(&self.options, self.space.live_bytes.load(Ordering::Relaxed))
    }

    /// Notes an error of the background work, and tells who asked to be told.
    pub(crate) fn report(&self, error: &KvsError) {
        *lock(&self.counters.last_background_error) = Some(error.clone());
        if let Some(callback) = &self.options.on_background_error {
            // A panic in there is not to end the thread that syncs.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| callback(error)));
        }
    }
}

/// The size of segments: as asked for, or a sixteenth of the live bytes.
pub(crate) fn segment_capacity(options: &Options, live_bytes: u64) -> u64 {
    const MIN: u64 = 1 << 20;
    let max = *crate::options::SEGMENT_BYTES.end();
    options.segment_bytes.unwrap_or_else(|| (live_bytes / 16).clamp(MIN, max))
}
