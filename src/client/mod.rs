//! `KvsClient`: a server's keys and values, from another process.
//!
//! One connection is shared by all clones of a client and all tasks that use them; requests of
//! many tasks go out together, and nobody waits for the answer of somebody else. Each call has a
//! time limit, [`ClientOptions::timeout_ms`].
//!
//! When the connection breaks, it is made again as soon as something is asked for, after a delay
//! that doubles with each failure. What is asked again by itself, within the time of the call:
//! - what has certainly not been sent, or was refused with `Busy` or `ShuttingDown`;
//! - what reads: `get`, `get_many`, `ping`, `stats`, also `sync`; scans and watches go on where
//!   they were;
//! - a compare-and-swap that depends on a version, which cannot be done twice. If it was sent twice
//!   and does not hold, it is not known whether that is the first one's doing, and the error says
//!   so.
//!
//! Every other write that may have reached the server ends with [`ClientError::Lost`] or
//! [`ClientError::Timeout`], and [`ClientError::is_outcome_unknown`] is true. A call whose future
//! is dropped may or may not have its effect; nothing else is disturbed by that.
//!
//! Memory: at most [`ClientOptions::requests_in_flight_max`] requests wait for an answer, as many
//! are queued, and callers beyond that wait; a stream has at most four pages on their way.

mod error;
mod options;
mod backoff;
mod transport;
mod handshake;
mod pending;
mod connection;
mod call;
mod stream;
mod scan;
mod watch;
mod answer;
mod server;
mod writes;
mod blocking;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use blocking::{BlockingKvsClient, BlockingScan, BlockingWatch};
pub use error::{ClientError, ErrorCode, Result, ServerError};
pub use options::ClientOptions;
pub use scan::{Scan, ScanOptions};
pub use server::{ServerFigure, ServerInfo, ServerStats};
pub use watch::Watch;
pub use writes::Swap;

use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::{
    Found, GetManyRequest, GetRequest, PingRequest, StatsRequest, SyncRequest,
};
use crate::store::{Value, Versioned};
use answer::Answer;
use call::{Caller, Repeat};
use connection::{Connection, Shared};
use transport::Transport;

/// A client of a server. Clones share its connection, which ends with the last of them.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kvs::client::ClientError> {
/// use kvs::KvsClient;
/// let client = KvsClient::connect("127.0.0.1:4000").await?;
/// client.set("city", "Utrecht").await?;
/// assert_eq!(client.get("city").await?.as_deref(), Some(&b"Utrecht"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KvsClient {
    caller: Arc<Caller>,
}

impl fmt::Debug for KvsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = &self.caller.shared.transport.addr;
        f.debug_struct("KvsClient").field("addr", addr).finish_non_exhaustive()
    }
}

impl KvsClient {
    /// Connects to the server at `addr`, with the default [`ClientOptions`].
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    ///
    /// # Panics
    /// As [`ClientOptions::connect`].
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(addr: impl fmt::Display) -> Result<KvsClient> {
        ClientOptions::new().connect(addr).await
    }

    pub(crate) async fn start(transport: Transport, options: ClientOptions) -> Result<KvsClient> {
        let greeted = handshake::connect(&transport, &options).await?;
        let (queue, queued) = mpsc::channel(options.in_flight_max);
        let (control, controlled) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(transport, options, &greeted));
        let connection = Connection::new(Arc::clone(&shared), queued, controlled);
        tokio::spawn(connection.run(greeted));
        Ok(KvsClient { caller: Arc::new(Caller::new(shared, queue, control)) })
    }

    /// What the server says of itself.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// println!("{}", client.server().engine);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn server(&self) -> ServerInfo {
        ServerInfo::from(&*self.caller.shared.hello())
    }

    /// The value of a key; none if it has none.
    ///
    /// # Errors
    /// Any [`ClientError`]; of the server, `Corrupt`, `ResponseTooLarge`, `Internal`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let value = client.get("city").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.get_versioned(key).await?.map(|found| found.value))
    }

    /// The value of a key with its version and its expiry; none if it has none.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let written = client.set("city", "Utrecht").await?;
    /// let found = client.get_versioned("city").await?;
    /// assert_eq!(found.map(|found| found.seq), Some(written.seq));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_versioned(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        Ok(self.look(key.as_ref(), false).await?.map(Versioned::from))
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// assert!(!client.contains_key("nowhere").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.look(key.as_ref(), true).await?.is_some())
    }

    /// When a key expires, in milliseconds since 1970-01-01 UTC. The outer none: it has no value;
    /// the inner one: it does not expire.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// client.set("city", "Utrecht").await?;
    /// assert_eq!(client.expires_at("city").await?, Some(None));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        Ok(self.look(key.as_ref(), true).await?.map(|found| found.expires_at_ms))
    }

    async fn look(&self, key: &[u8], without_value: bool) -> Result<Option<Found>> {
        let asked = Asked::Get(GetRequest { key: key.to_vec().into(), without_value });
        Ok(self.caller.call(asked, Repeat::Freely).await?.get()?.found)
    }

    /// The values of keys, with their versions and expiries; a place in the answer for each. They
    /// are of one moment as far as batches go: of a batch, all is seen or nothing.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get); `InvalidRequest` for more than 100,000 keys, which are not sent.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let found = client.get_many(["a", "b"]).await?;
    /// assert_eq!(found.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Versioned>>> {
        let keys: Vec<_> = keys.into_iter().map(|key| key.as_ref().to_vec().into()).collect();
        let count = keys.len();
        self.caller.check_elements(count)?;
        let asked = Asked::GetMany(GetManyRequest { keys, without_values: false });
        let answers = self.caller.call(asked, Repeat::Freely).await?.get_many()?.answers;
        if answers.len() != count {
            return Err(answer::unexpected("another number of answers than of keys"));
        }
        Ok(answers.into_iter().map(|answer| answer.found.map(Versioned::from)).collect())
    }

    /// Reads a range in the order of the keys. Nothing is asked before the first record is.
    ///
    /// It shows the state of one moment if the engine has snapshots
    /// ([`ServerInfo::has_snapshots`]); when its connection is lost, or the server gives that
    /// moment up, it goes on behind the last key, with a later moment.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::client::{KvsClient, ScanOptions};
    /// let client = KvsClient::connect("127.0.0.1:4000").await?;
    /// let mut scan = client.scan(ScanOptions::new().prefix("user/"));
    /// while let Some((key, found)) = scan.next().await? {
    ///     println!("{key:?} {:?}", found.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan::new(Arc::clone(&self.caller), options)
    }

    /// Watches what is committed, in that order: all changes after the write with the seq `after`,
    /// or from now on, of the keys that begin with a prefix.
    ///
    /// When its connection is lost it goes on with the next change; none comes twice or is left
    /// out. To go on after a restart of this process, begin after the seq before that of the last
    /// change, and leave out as many changes as had come with the seq of the last one: all changes
    /// of a batch have one seq, and more of them may be to come.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get); `HistoryGone`, `Unsupported`, `TooManyStreams`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// let mut watch = client.watch(None, "user/").await?;
    /// client.set("user/1", "Ada").await?;
    /// assert_eq!(watch.next().await?.key, b"user/1");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn watch(&self, after: Option<u64>, prefix: impl Into<Vec<u8>>) -> Result<Watch> {
        Watch::start(Arc::clone(&self.caller), after, prefix.into()).await
    }

    /// What the engine and the server count.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// println!("{} keys", client.stats().await?.keys);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<ServerStats> {
        let answer = self.caller.call(Asked::Stats(StatsRequest {}), Repeat::Freely).await?;
        Ok(answer.stats()?.into())
    }

    /// Makes everything durable that was acknowledged before.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get); `Poisoned`, `DiskFull`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// client.sync().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sync(&self) -> Result<()> {
        let answer = self.caller.call(Asked::Sync(SyncRequest {}), Repeat::Freely).await?;
        answer.sync().map(drop)
    }

    /// Asks whether the server is there; its time, by which keys expire, in milliseconds since
    /// 1970-01-01 UTC.
    ///
    /// # Errors
    /// As [`get`](KvsClient::get).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// let client = kvs::KvsClient::connect("127.0.0.1:4000").await?;
    /// assert!(client.ping().await? > 1_700_000_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ping(&self) -> Result<u64> {
        let answer = self.caller.call(Asked::Ping(PingRequest::default()), Repeat::Freely).await?;
        Ok(answer.ping()?.now_ms)
    }
}
