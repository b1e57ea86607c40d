//! A walk through all keys in small steps that need no memory in between: the cursor says it all.
//!
//! It goes by hash: shard by shard, and in a shard tag by tag, both of which a key keeps for ever.
//! So whatever is written, and however shards grow, a key that is there from begin to end is met.
//! Redis's SCAN promises the same with a cursor over the buckets of its table.

use super::Store;
use super::keydir::{Keydir, TAG_BITS};
use super::record::Record;
use super::view::View;
use crate::error::{KvsError, Result};

/// Where a call has met keys of so many bytes, it ends, however many were asked for.
pub(crate) const WALK_BYTES_MAX: usize = 16 << 20;

/// How many keys that have expired are passed at most in search of one that has not.
const PASSED_MAX: usize = 1 << 13;

/// Some keys, and where a walk goes on; see [`Store::walk`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let walked = store.walk(0, 10)?;
/// assert!(walked.keys.is_empty() && walked.cursor == 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walked {
    /// Keys that were there at some moment of the call.
    pub keys: Vec<Vec<u8>>,
    /// 0: that was all.
    pub cursor: u64,
}

impl Store {
    /// Goes on through all keys in the order of their hashes, about `count` of them, or fewer where
    /// they have more than 16 MiB together. A walk begins with cursor 0 and ends when the
    /// answer's cursor is 0. A key that is there from begin to end comes at least once, whatever is
    /// written meanwhile and however often the store is opened anew; one that comes or goes may
    /// come or not.
    ///
    /// # Errors
    /// As [`get`](Store::get); [`KvsError::InvalidCursor`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// for number in 0..100 {
    ///     store.set(format!("key {number}"), "")?;
    /// }
    /// let (mut cursor, mut keys) = (0, 0);
    /// loop {
    ///     let walked = store.walk(cursor, 10)?;
    ///     keys += walked.keys.len();
    ///     cursor = walked.cursor;
    ///     if cursor == 0 {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(keys, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn walk(&self, cursor: u64, count: usize) -> Result<Walked> {
        self.core().walk(cursor, count)
    }

    /// A key by chance: the first one behind a point that is chosen by chance; none if there is
    /// none, or if there are thousands there that have expired and nobody has taken out yet.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert_eq!(store.random_key()?.as_deref(), Some(&b"key"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let core = self.core();
        let begin = core.random.next() % cursor_limit();
        // More at a time from one to the next: each copies what is left of a shard.
        let mut count = 1;
        for cursor in [begin, 0] {
            let mut cursor = Some(cursor);
            while let Some(from) = cursor.filter(|_| count <= PASSED_MAX) {
                let walked = core.walk(from, count)?;
                count *= 2;
                // Keys of one tag come together.
                let by_chance = usize::try_from(core.random.next()).unwrap_or_default();
                let index = by_chance.checked_rem(walked.keys.len()).unwrap_or_default();
                if let Some(key) = walked.keys.into_iter().nth(index) {
                    return Ok(Some(key));
                }
                cursor = (walked.cursor != 0).then_some(walked.cursor);
            }
        }
        Ok(None)
    }
}

/// A cursor is a shard, and a tag in it.
fn cursor_limit() -> u64 {
    (Keydir::shards() as u64) << TAG_BITS
}

impl View {
    fn walk(&self, cursor: u64, count: usize) -> Result<Walked> {
        self.check_open()?;
        if cursor >= cursor_limit() {
            return Err(KvsError::InvalidCursor { cursor });
        }
        let mut walked = Walked::default();
        let mut first_tag = cursor & ((1 << TAG_BITS) - 1);
        let (mut seen, mut bytes) = (0, 0);
        for shard in usize::try_from(cursor >> TAG_BITS).unwrap_or_default()..Keydir::shards() {
            let pin = self.pins.pin();
            let slots = self.keydir.copy_shard(&pin, shard);
            let from = slots.partition_point(|(tag, _)| *tag < first_tag);
            let mut last_tag = None;
            for (tag, location) in slots.into_iter().skip(from) {
                // Never between two keys of the same tag: the cursor could not say it.
                let is_enough = seen >= count.max(1) || bytes >= WALK_BYTES_MAX;
                if is_enough && last_tag != Some(tag) {
                    walked.cursor = (shard as u64) << TAG_BITS | tag;
                    return Ok(walked);
                }
                last_tag = Some(tag);
                seen += 1;
                let segment = self.segment(&pin, location)?;
                let key = segment.read(location.offset(), |record, _| match record {
                    Record::Set { key, expires_at_ms, .. } => {
                        (!self.time.is_over(expires_at_ms)).then(|| key.to_vec())
                    }
                    _ => None,
                })?;
                bytes += key.as_ref().map_or(0, Vec::len);
                walked.keys.extend(key);
            }
            first_tag = 0;
        }
        Ok(walked)
    }
}

const _: () = assert!(TAG_BITS < 32, "a cursor has room for a shard and a tag");
