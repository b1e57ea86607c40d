//! `Batch`: sets and removes that are written together, all or nothing, and what they depend on.

use crate::error::{KvsError, Result};
use crate::options::{BATCH_BYTES_MAX, OPERATION_BYTES, check_key, check_value};

/// An ordered list of sets and removes: the unit of writing.
///
/// A batch is applied as a whole or not at all, whatever happens. Where it names a key more than
/// once, the last operation counts.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let mut batch = kvs::Batch::new();
/// batch.set("a", "1");
/// batch.remove("b");
/// store.write(&batch)?;
/// assert_eq!(store.get("a")?.as_deref(), Some(&b"1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    operations: Vec<Span>,
    requirements: Vec<Requirement>,
}

/// What a key must be like before the batch; see [`Batch::require`].
///
/// ```
/// let mut batch = kvs::Batch::new();
/// batch.require("key", kvs::Expected::Absent);
/// assert_eq!(batch.requirements()[0].key, b"key");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// The key.
    pub key: Vec<u8>,
    /// What it must be like.
    pub expected: Expected,
}

/// What a key is expected to be like, for a write that depends on it. An expired key is absent.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// use kvs::Expected;
/// let first = store.compare_and_swap("key", Expected::Absent, Some("1"))?.expect("no key yet");
/// let second = store.compare_and_swap("key", Expected::Version(first.seq), Some("2"))?;
/// assert!(second.is_some());
/// assert!(store.compare_and_swap("key", Expected::value("1"), None::<&str>)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
    /// It has the value that the write with this seq gave it.
    Version(
        /// As in [`Written`](crate::Written) and [`Versioned`](crate::Versioned).
        u64,
    ),
    /// It has this value.
    Value(
        /// The bytes.
        Vec<u8>,
    ),
}

impl Expected {
    /// The key has this value.
    ///
    /// ```
    /// use kvs::Expected;
    /// assert_eq!(Expected::value("1"), Expected::Value(b"1".to_vec()));
    /// ```
    #[must_use]
    pub fn value(value: impl AsRef<[u8]>) -> Expected {
        Expected::Value(value.as_ref().to_vec())
    }

    /// Whether a key is as expected: one that has this version and this value, or none.
    ///
    /// ```
    /// use kvs::Expected;
    /// assert!(Expected::Version(3).is_met_by(Some((3, b"value"))));
    /// assert!(!Expected::Present.is_met_by(None));
    /// ```
    #[must_use]
    pub fn is_met_by(&self, found: Option<(u64, &[u8])>) -> bool {
        match (self, found) {
            (Expected::Absent, found) => found.is_none(),
            (Expected::Present, found) => found.is_some(),
            (Expected::Version(version), Some((found, _))) => *version == found,
            (Expected::Value(value), Some((_, found))) => value == found,
            (Expected::Version(_) | Expected::Value(_), None) => false,
        }
    }
}

/// One operation: where its key ends and, for a set, where its value ends in `bytes`.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    value_end: Option<usize>,
    expires_at_ms: Option<u64>,
}

/// One operation of a batch, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// Give the key this value.
    Set {
        /// The key.
        key: &'a [u8],
        /// Its new value.
        value: &'a [u8],
        /// When it expires, in milliseconds since 1970-01-01 UTC; none: never.
        expires_at_ms: Option<u64>,
    },
    /// Remove the key.
    Remove {
        /// The key.
        key: &'a [u8],
    },
}

impl<'a> Operation<'a> {
    /// The key that the operation is about.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.remove("b");
    /// assert_eq!(batch.iter().next().map(|operation| operation.key()), Some(&b"b"[..]));
    /// ```
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match self {
            Operation::Set { key, .. } | Operation::Remove { key } => key,
        }
    }

    /// Answers with an error if the key or the value is over its limit.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Operation::Set { key, value, .. } => check_key(key).and_then(|()| check_value(value)),
            Operation::Remove { key } => check_key(key),
        }
    }

    /// The bytes of key and value together.
    pub(crate) fn byte_len(&self) -> usize {
        match self {
            Operation::Set { key, value, .. } => key.len() + value.len(),
            Operation::Remove { key } => key.len(),
        }
    }
}

impl Batch {
    /// An empty batch.
    ///
    /// ```
    /// assert!(kvs::Batch::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a set. The key does not expire, even if it did before. Limits are checked when the
    /// batch is written.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.set("key", "value");
    /// assert_eq!(batch.len(), 1);
    /// ```
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.as_ref());
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.as_ref());
        let value_end = Some(self.bytes.len());
        self.operations.push(Span { start, key_end, value_end, expires_at_ms: None });
        self
    }

    /// Adds a set of a key that expires: from `expires_at_ms` on, in milliseconds since 1970-01-01
    /// UTC, it is absent.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let mut batch = kvs::Batch::new();
    /// batch.set_until("session", "alice", store.now_ms() + 60_000);
    /// store.write(&batch)?;
    /// assert!(store.contains_key("session")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_until(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> &mut Batch {
        self.set(key, value);
        if let Some(operation) = self.operations.last_mut() {
            operation.expires_at_ms = Some(expires_at_ms);
        }
        self
    }

    /// Makes the batch depend on a key: unless the key is as expected before the batch, nothing is
    /// written, and the error names it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Batch, Expected, KvsError};
    /// let mut batch = Batch::new();
    /// batch.require("name", Expected::Absent).set("name", "Ada").set("owner", "1");
    /// store.write(&batch)?;
    /// let again = store.write(&batch);
    /// assert!(matches!(again, Err(KvsError::PreconditionFailed { requirement: 0, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn require(&mut self, key: impl AsRef<[u8]>, expected: Expected) -> &mut Batch {
        self.requirements.push(Requirement { key: key.as_ref().to_vec(), expected });
        self
    }

    /// What the batch depends on, in the order in which it was added.
    ///
    /// ```
    /// assert!(kvs::Batch::new().requirements().is_empty());
    /// ```
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Adds a remove. Removing a key that does not exist is no error.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.remove("key");
    /// assert_eq!(batch.len(), 1);
    /// ```
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.as_ref());
        let key_end = self.bytes.len();
        self.operations.push(Span { start, key_end, value_end: None, expires_at_ms: None });
        self
    }

    /// The number of operations.
    ///
    /// ```
    /// assert_eq!(kvs::Batch::new().len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is no operation in it.
    ///
    /// ```
    /// assert!(kvs::Batch::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The bytes of all keys and values together.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.set("key", "value");
    /// assert_eq!(batch.byte_len(), 8);
    /// ```
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes all operations and requirements out and keeps the memory for the next ones.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.set("key", "value").clear();
    /// assert!(batch.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.operations.clear();
        self.requirements.clear();
    }

    /// The operations in the order in which they were added.
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.set("a", "1").remove("b");
    /// let keys: Vec<&[u8]> = batch.iter().map(|operation| operation.key()).collect();
    /// assert_eq!(keys, [b"a", b"b"]);
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Operation<'_>> {
        self.operations.iter().map(|span| {
            let slice = |from, to| self.bytes.get(from..to).unwrap_or_default();
            let key = slice(span.start, span.key_end);
            match span.value_end {
                Some(end) => {
                    let (value, expires_at_ms) = (slice(span.key_end, end), span.expires_at_ms);
                    Operation::Set { key, value, expires_at_ms }
                }
                None => Operation::Remove { key },
            }
        })
    }

    /// Checks the limits, as writing it does.
    ///
    /// # Errors
    /// [`KvsError::KeyTooLarge`], [`KvsError::ValueTooLarge`], [`KvsError::BatchTooLarge`].
    ///
    /// ```
    /// let mut batch = kvs::Batch::new();
    /// batch.set(vec![0; kvs::KEY_BYTES_MAX + 1], "value");
    /// assert!(matches!(batch.check(), Err(kvs::KvsError::KeyTooLarge { .. })));
    /// ```
    pub fn check(&self) -> Result<()> {
        let bytes = self.byte_len().saturating_add(self.len().saturating_mul(OPERATION_BYTES));
        if self.len() > 1 && bytes > BATCH_BYTES_MAX {
            return Err(KvsError::BatchTooLarge { bytes, limit: BATCH_BYTES_MAX });
        }
        self.requirements.iter().try_for_each(|required| check_key(&required.key))?;
        self.iter().try_for_each(|operation| operation.check())
    }
}
