//! `BlockingKvsClient`: the same for threads, on a runtime of its own.
//!
//! The runtime has no thread: the connection comes on while some caller waits for an answer. What
//! has come meanwhile is seen at the next call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::KvsClient;
use super::error::{ClientError, Result};
use super::options::ClientOptions;
use super::scan::{Scan, ScanOptions};
use super::server::{ServerInfo, ServerStats};
use super::watch::Watch;
use super::writes::Swap;
use crate::batch::{Batch, Expected};
use crate::options::{SetOptions, WriteOptions};
use crate::store::{Change, Value, Versioned, Written};

/// A [`KvsClient`] whose calls block. Clones share its connection; threads may share a clone.
///
/// Its calls must not be made inside of a tokio runtime: they panic there.
///
/// ```no_run
/// use kvs::client::BlockingKvsClient;
/// let client = BlockingKvsClient::connect("127.0.0.1:4000")?;
/// client.set("city", "Utrecht")?;
/// assert_eq!(client.get("city")?.as_deref(), Some(&b"Utrecht"[..]));
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
#[derive(Clone)]
pub struct BlockingKvsClient {
    client: KvsClient,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for BlockingKvsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingKvsClient").field(&self.client).finish()
    }
}

impl BlockingKvsClient {
    /// Connects to the server at `addr`, with the default [`ClientOptions`].
    ///
    /// # Errors
    /// As [`ClientOptions::connect_blocking`].
    ///
    /// ```no_run
    /// let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn connect(addr: impl fmt::Display) -> Result<BlockingKvsClient> {
        BlockingKvsClient::start(addr, &ClientOptions::new())
    }

    pub(super) fn start(
        addr: impl fmt::Display,
        options: &ClientOptions,
    ) -> Result<BlockingKvsClient> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime =
            runtime.map_err(|source| ClientError::Runtime { source: Arc::new(source) })?;
        let client = runtime.block_on(options.connect(addr))?;
        Ok(BlockingKvsClient { client, runtime: Arc::new(runtime) })
    }

    /// [`KvsClient::get`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// let value = client.get("city")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.runtime.block_on(self.client.get(key))
    }

    /// [`KvsClient::get_versioned`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// let found = client.get_versioned("city")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn get_versioned(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        self.runtime.block_on(self.client.get_versioned(key))
    }

    /// [`KvsClient::contains_key`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert!(!client.contains_key("nowhere")?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.runtime.block_on(self.client.contains_key(key))
    }

    /// [`KvsClient::expires_at`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert_eq!(client.expires_at("nowhere")?, None);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        self.runtime.block_on(self.client.expires_at(key))
    }

    /// [`KvsClient::get_many`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert_eq!(client.get_many(["a", "b"])?.len(), 2);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Versioned>>> {
        self.runtime.block_on(self.client.get_many(keys))
    }

    /// [`KvsClient::set`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.set("city", "Utrecht")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        self.runtime.block_on(self.client.set(key, value))
    }

    /// [`KvsClient::set_with`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.set_with("session", "alice", kvs::SetOptions::new().expire_after_ms(60_000))?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Option<Written>> {
        self.runtime.block_on(self.client.set_with(key, value, options))
    }

    /// [`KvsClient::remove`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert!(!client.remove("nowhere")?.existed);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<Written> {
        self.runtime.block_on(self.client.remove(key))
    }

    /// [`KvsClient::remove_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.remove_opt("city", options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn remove_opt(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<Written> {
        self.runtime.block_on(self.client.remove_opt(key, options))
    }

    /// [`KvsClient::write`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.write(kvs::Batch::new().set("a", "1").remove("b"))?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn write(&self, batch: &Batch) -> Result<Written> {
        self.runtime.block_on(self.client.write(batch))
    }

    /// [`KvsClient::write_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.write_opt(kvs::Batch::new().set("a", "1"), kvs::WriteOptions::new())?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn write_opt(&self, batch: &Batch, options: WriteOptions) -> Result<Written> {
        self.runtime.block_on(self.client.write_opt(batch, options))
    }

    /// [`KvsClient::compare_and_swap`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.compare_and_swap("key", kvs::Expected::Absent, Some("1"))?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Swap> {
        self.runtime.block_on(self.client.compare_and_swap(key, expected, new))
    }

    /// [`KvsClient::compare_and_swap_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.compare_and_swap_opt("lock", kvs::Expected::Absent, Some("me"), options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn compare_and_swap_opt(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        new: Option<impl AsRef<[u8]>>,
        options: WriteOptions,
    ) -> Result<Swap> {
        self.runtime.block_on(self.client.compare_and_swap_opt(key, expected, new, options))
    }

    /// [`KvsClient::increment`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// println!("{} visits", client.increment("visits", 1)?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        self.runtime.block_on(self.client.increment(key, by))
    }

    /// [`KvsClient::increment_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.increment_opt("visits", 1, options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn increment_opt(
        &self,
        key: impl AsRef<[u8]>,
        by: i64,
        options: WriteOptions,
    ) -> Result<i64> {
        self.runtime.block_on(self.client.increment_opt(key, by, options))
    }

    /// [`KvsClient::append`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.append("log", "one line\n")?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64> {
        self.runtime.block_on(self.client.append(key, value))
    }

    /// [`KvsClient::append_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.append_opt("log", "one line\n", options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn append_opt(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<u64> {
        self.runtime.block_on(self.client.append_opt(key, value, options))
    }

    /// [`KvsClient::expire_at`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert!(!client.expire_at("nowhere", 4_102_444_800_000)?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn expire_at(&self, key: impl AsRef<[u8]>, at_ms: u64) -> Result<bool> {
        self.runtime.block_on(self.client.expire_at(key, at_ms))
    }

    /// [`KvsClient::expire_at_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.expire_at_opt("session", 4_102_444_800_000, options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn expire_at_opt(
        &self,
        key: impl AsRef<[u8]>,
        at_ms: u64,
        options: WriteOptions,
    ) -> Result<bool> {
        self.runtime.block_on(self.client.expire_at_opt(key, at_ms, options))
    }

    /// [`KvsClient::expire_after`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert!(!client.expire_after("nowhere", 1_000)?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn expire_after(&self, key: impl AsRef<[u8]>, ms: u64) -> Result<bool> {
        self.runtime.block_on(self.client.expire_after(key, ms))
    }

    /// [`KvsClient::expire_after_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.expire_after_opt("session", 60_000, options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn expire_after_opt(
        &self,
        key: impl AsRef<[u8]>,
        ms: u64,
        options: WriteOptions,
    ) -> Result<bool> {
        self.runtime.block_on(self.client.expire_after_opt(key, ms, options))
    }

    /// [`KvsClient::persist`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// assert!(!client.persist("nowhere")?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.runtime.block_on(self.client.persist(key))
    }

    /// [`KvsClient::persist_opt`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Always);
    /// client.persist_opt("session", options)?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn persist_opt(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<bool> {
        self.runtime.block_on(self.client.persist_opt(key, options))
    }

    /// [`KvsClient::stats`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// println!("{} keys", client.stats()?.keys);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn stats(&self) -> Result<ServerStats> {
        self.runtime.block_on(self.client.stats())
    }

    /// [`KvsClient::sync`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// client.sync()?;
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.runtime.block_on(self.client.sync())
    }

    /// [`KvsClient::ping`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// println!("it is {} ms", client.ping()?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn ping(&self) -> Result<u64> {
        self.runtime.block_on(self.client.ping())
    }

    /// [`KvsClient::server`].
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// println!("{}", client.server().engine);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    #[must_use]
    pub fn server(&self) -> ServerInfo {
        self.client.server()
    }

    /// [`KvsClient::scan`], as an iterator.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// for record in client.scan(kvs::client::ScanOptions::new().prefix("user/")) {
    ///     let (key, found) = record?;
    ///     println!("{key:?} {:?}", found.value);
    /// }
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    #[must_use]
    pub fn scan(&self, options: ScanOptions) -> BlockingScan {
        let scan = Some(self.client.scan(options));
        BlockingScan { scan, runtime: Arc::clone(&self.runtime) }
    }

    /// [`KvsClient::watch`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// let mut watch = client.watch(None, "user/")?;
    /// println!("{:?}", watch.next()?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn watch(&self, after: Option<u64>, prefix: impl Into<Vec<u8>>) -> Result<BlockingWatch> {
        let watch = self.runtime.block_on(self.client.watch(after, prefix))?;
        Ok(BlockingWatch { watch, runtime: Arc::clone(&self.runtime) })
    }
}

/// The records of a range; it ends after the first error.
///
/// ```no_run
/// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
/// let scan = client.scan(kvs::client::ScanOptions::new().limit(10));
/// assert!(scan.count() <= 10);
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
pub struct BlockingScan {
    scan: Option<Scan>,
    runtime: Arc<Runtime>,
}

impl Iterator for BlockingScan {
    type Item = Result<(Vec<u8>, Versioned)>;

    fn next(&mut self) -> Option<Self::Item> {
        let scan = self.scan.as_mut()?;
        let next = self.runtime.block_on(scan.next()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.scan = None;
        }
        next
    }
}

/// A feed of changes.
///
/// ```no_run
/// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
/// let mut watch = client.watch(None, "")?;
/// let second = std::time::Duration::from_secs(1);
/// while let Some(change) = watch.next_within(second)? {
///     println!("{} {:?}", change.seq, change.key);
/// }
/// # Ok::<(), kvs::client::ClientError>(())
/// ```
pub struct BlockingWatch {
    watch: Watch,
    runtime: Arc<Runtime>,
}

impl BlockingWatch {
    /// The next change; it waits until there is one.
    ///
    /// # Errors
    /// As [`Watch::next`].
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// println!("{:?}", client.watch(None, "")?.next()?);
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> Result<Change> {
        self.runtime.block_on(self.watch.next())
    }

    /// The next change; none: there was none within that time.
    ///
    /// # Errors
    /// As [`Watch::next`].
    ///
    /// ```no_run
    /// # let client = kvs::client::BlockingKvsClient::connect("127.0.0.1:4000")?;
    /// let mut watch = client.watch(None, "")?;
    /// assert!(watch.next_within(std::time::Duration::from_millis(10))?.is_none());
    /// # Ok::<(), kvs::client::ClientError>(())
    /// ```
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Change>> {
        let next = async { timeout(time, self.watch.next()).await };
        self.runtime.block_on(next).ok().transpose()
    }
}
