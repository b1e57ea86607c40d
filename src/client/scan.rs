//! `Scan`: the records of a range, page by page, over as many connections as it takes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::call::Caller;
use super::error::{ClientError, ErrorCode, Result};
use super::pending::Event;
use super::stream::{PAGE_BYTES, PAGE_RECORDS, PAGES, Stream};
use crate::protocol::frame::to_u64;
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{Bound, ScanPage, ScanRequest, bound};
use crate::store::Versioned;

/// What to scan.
///
/// ```
/// use kvs::client::ScanOptions;
/// let newest = ScanOptions::new().prefix("log/").reverse().limit(10);
/// # let _ = newest;
/// ```
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    request: ScanRequest,
    limit: Option<u64>,
}

impl ScanOptions {
    /// All records, in the order of the keys.
    ///
    /// ```
    /// let all = kvs::client::ScanOptions::new();
    /// # let _ = all;
    /// ```
    #[must_use]
    pub fn new() -> ScanOptions {
        ScanOptions::default()
    }

    /// Only keys that begin with this.
    ///
    /// ```
    /// let users = kvs::client::ScanOptions::new().prefix("user/");
    /// # let _ = users;
    /// ```
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> ScanOptions {
        self.request.prefix = prefix.into().into();
        self
    }

    /// Only keys from this one on.
    ///
    /// ```
    /// let rest = kvs::client::ScanOptions::new().from("m");
    /// # let _ = rest;
    /// ```
    #[must_use]
    pub fn from(mut self, key: impl Into<Vec<u8>>) -> ScanOptions {
        let kind = Some(bound::Kind::Included(key.into().into()));
        self.request.from = Some(Bound { kind });
        self
    }

    /// Only keys before this one.
    ///
    /// ```
    /// let first = kvs::client::ScanOptions::new().to("m");
    /// # let _ = first;
    /// ```
    #[must_use]
    pub fn to(mut self, key: impl Into<Vec<u8>>) -> ScanOptions {
        let kind = Some(bound::Kind::Excluded(key.into().into()));
        self.request.to = Some(Bound { kind });
        self
    }

    /// The last key first.
    ///
    /// ```
    /// let backwards = kvs::client::ScanOptions::new().reverse();
    /// # let _ = backwards;
    /// ```
    #[must_use]
    pub fn reverse(mut self) -> ScanOptions {
        self.request.reverse = true;
        self
    }

    /// At most so many records.
    ///
    /// ```
    /// let ten = kvs::client::ScanOptions::new().limit(10);
    /// # let _ = ten;
    /// ```
    #[must_use]
    pub fn limit(mut self, records: u64) -> ScanOptions {
        self.limit = Some(records);
        self
    }

    /// Leave the values out: they come empty.
    ///
    /// ```
    /// let keys = kvs::client::ScanOptions::new().keys_only();
    /// # let _ = keys;
    /// ```
    #[must_use]
    pub fn keys_only(mut self) -> ScanOptions {
        self.request.without_values = true;
        self
    }
}

/// A scan that goes on; see [`KvsClient::scan`](super::KvsClient::scan). When it is dropped, the
/// server is told that no more is wanted.
pub struct Scan {
    caller: Arc<Caller>,
    /// What is left to ask for.
    request: ScanRequest,
    left: Option<u64>,
    stream: Option<Stream>,
    /// Whether a page has come since the stream began.
    has_come_on: bool,
    /// That the server shuts down, if that was the last it said.
    refused: Option<ClientError>,
    is_over: bool,
    records: VecDeque<(Vec<u8>, Versioned)>,
}

impl Scan {
    pub(super) fn new(caller: Arc<Caller>, options: ScanOptions) -> Scan {
        let request = ScanRequest {
            page_records: PAGE_RECORDS,
            page_bytes: PAGE_BYTES,
            pages: PAGES,
            ..options.request
        };
        let is_over = options.limit == Some(0);
        let (stream, records) = (None, VecDeque::new());
        let left = options.limit;
        let (has_come_on, refused) = (false, None);
        Scan { caller, request, left, stream, has_come_on, refused, is_over, records }
    }

    /// The next record; none: that was all. No record is lost if it is not waited for to its end.
    ///
    /// # Errors
    /// As [`KvsClient::get`](super::KvsClient::get); `InvalidRange`, `SnapshotEnded`;
    /// `ShuttingDown`, if that is all that the server said for as long as a call may take. After
    /// that, `Timeout` and `Connect` it can be asked again.
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
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, Versioned)>> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            if self.is_over {
                return Ok(None);
            }
            let caller = Arc::clone(&self.caller);
            match caller.within(self.fill()).await {
                Ok(filled) => filled?,
                Err(late) => return Err(self.refused.take().unwrap_or(late)),
            }
        }
    }

    /// Waits for the next page.
    async fn fill(&mut self) -> Result<()> {
        let options = &self.caller.shared.options;
        let mut backoff = Backoff::new(options.delay, options.delay_max);
        let deadline = Instant::now() + options.timeout;
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let request = Asked::Scan(ScanRequest {
                        records_max: self.left.unwrap_or_default(),
                        ..self.request.clone()
                    });
                    self.has_come_on = false;
                    self.stream.insert(Stream::open(&self.caller, request).await?)
                }
            };
            match stream.next().await {
                Some(Event::Page(Kind::ScanPage(page))) => {
                    self.put(page);
                    return Ok(());
                }
                Some(Event::Page(_)) => {}
                Some(Event::End) => {
                    self.is_over = true;
                    return Ok(());
                }
                // What the server showed until then is gone; from here on it shows a later moment.
                Some(Event::Failed(error))
                    if error.code() == ErrorCode::SnapshotEnded && self.has_come_on =>
                {
                    self.stream = None;
                }
                // As with a lost connection, which is about to follow.
                Some(Event::Failed(error)) if error.code() == ErrorCode::ShuttingDown => {
                    self.stream = None;
                    self.refused = Some(error);
                    backoff.wait(deadline).await;
                }
                Some(Event::Failed(error)) => {
                    self.is_over = true;
                    return Err(error);
                }
                None => {
                    self.stream = None;
                    backoff.wait(deadline).await;
                }
            }
        }
    }

    fn put(&mut self, page: ScanPage) {
        (self.has_come_on, self.refused) = (true, None);
        for record in page.records {
            let found = record.found.unwrap_or_default();
            self.records.push_back((record.key.into(), found.into()));
        }
        if let Some((key, _)) = self.records.back() {
            // Where it would go on if the connection were lost now.
            let kind = Some(bound::Kind::Excluded(key.clone().into()));
            let behind = Some(Bound { kind });
            match self.request.reverse {
                false => self.request.from = behind,
                true => self.request.to = behind,
            }
        }
        let count = to_u64(self.records.len());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
            self.is_over |= *left == 0;
        }
    }
}
