//! `Watch`: the changes that are committed, as they come, over as many connections as it takes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::call::Caller;
use super::error::{ClientError, Result};
use super::pending::Event;
use super::stream::{PAGE_BYTES, PAGE_RECORDS, PAGES, Stream};
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{WatchPage, WatchRequest};
use crate::store::Change;

/// A feed of changes; see [`KvsClient::watch`](super::KvsClient::watch). When it is dropped, the
/// server is told that no more is wanted.
pub struct Watch {
    caller: Arc<Caller>,
    prefix: Vec<u8>,
    place: Place,
    stream: Option<Stream>,
    changes: VecDeque<Change>,
}

/// How far the changes have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No stream has begun, and it is to begin now.
    Now,
    /// One has begun, and the server did not say where.
    Unknown,
    /// No change has come, and it begins after this seq.
    After(u64),
    /// So many changes of this seq have come; there may be further ones of it.
    Within { seq: u64, come: usize, again: usize },
}

impl Place {
    /// The seq after which to go on; the outer none: it cannot be told.
    fn after(&self) -> Option<Option<u64>> {
        match self {
            Place::Now => Some(None),
            Place::Unknown => None,
            Place::After(seq) => Some(Some(*seq)),
            Place::Within { seq, .. } => Some(Some(seq.saturating_sub(1))),
        }
    }

    /// The stream begins anew: what has come of a seq comes again.
    fn begin_again(&mut self) {
        if let Place::Within { come, again, .. } = self {
            *again = *come;
        }
    }

    /// Counts a change. False: it has come before.
    fn count(&mut self, change_seq: u64) -> bool {
        if let Place::Within { seq, come, again } = self
            && *seq == change_seq
        {
            if *again > 0 {
                *again -= 1;
                return false;
            }
            *come += 1;
            return true;
        }
        *self = Place::Within { seq: change_seq, come: 1, again: 0 };
        true
    }
}

impl Watch {
    /// Begins it, and waits until the server has.
    pub(super) async fn start(
        caller: Arc<Caller>,
        after: Option<u64>,
        prefix: Vec<u8>,
    ) -> Result<Watch> {
        let place = after.map_or(Place::Now, Place::After);
        let mut watch = Watch { caller, prefix, place, stream: None, changes: VecDeque::new() };
        let caller = Arc::clone(&watch.caller);
        caller.within(watch.open()).await??;
        Ok(watch)
    }

    /// The next change. It waits until there is one; no change is lost if it is not waited for to
    /// its end.
    ///
    /// # Errors
    /// [`ClientError::Connect`], if the server cannot be reached for as long as a call may take: it
    /// can be asked again. [`ClientError::WatchLost`]; `HistoryGone`, if the server keeps no longer
    /// what came meanwhile; `ShuttingDown`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kvs::client::ClientError> {
    /// use kvs::client::KvsClient;
    /// let client = KvsClient::connect("127.0.0.1:4000").await?;
    /// let mut watch = client.watch(None, "user/").await?;
    /// let change = watch.next().await?;
    /// println!("{} {:?} {:?}", change.seq, change.key, change.value);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(change);
            }
            if self.stream.is_none() {
                let caller = Arc::clone(&self.caller);
                caller.within(self.open()).await??;
            }
            let Some(stream) = &mut self.stream else {
                continue;
            };
            match stream.next().await {
                Some(Event::Page(Kind::WatchPage(page))) => self.put(page),
                Some(Event::Page(_)) => {}
                Some(Event::Failed(error)) => {
                    self.stream = None;
                    return Err(error);
                }
                // Only what was cancelled ends without an error; it is begun again.
                Some(Event::End) | None => self.stream = None,
            }
        }
    }

    /// Begins a stream, again and again until the server has.
    async fn open(&mut self) -> Result<()> {
        let options = &self.caller.shared.options;
        let mut backoff = Backoff::new(options.delay, options.delay_max);
        let deadline = Instant::now() + options.timeout;
        loop {
            let Some(after) = self.place.after() else {
                let addr = self.caller.shared.transport.addr.clone();
                return Err(ClientError::WatchLost { addr });
            };
            let request = WatchRequest {
                after,
                prefix: self.prefix.clone().into(),
                page_records: PAGE_RECORDS,
                page_bytes: PAGE_BYTES,
                pages: PAGES,
            };
            let mut stream = Stream::open(&self.caller, Asked::Watch(request)).await?;
            match stream.next().await {
                Some(Event::Page(Kind::WatchStarted(started))) => {
                    if self.place == Place::Now {
                        self.place = started.after.map_or(Place::Unknown, Place::After);
                    }
                    self.place.begin_again();
                    self.stream = Some(stream);
                    return Ok(());
                }
                Some(Event::Failed(error)) => return Err(error),
                _ => backoff.wait(deadline).await,
            }
        }
    }

    fn put(&mut self, page: WatchPage) {
        for change in page.changes {
            if self.place.count(change.seq) {
                self.changes.push_back(change.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_batch_that_was_cut_goes_on_where_it_was() {
        let mut place = Place::After(5);
        assert_eq!(place.after(), Some(Some(5)));
        assert!([7, 9, 9].into_iter().all(|seq| place.count(seq)));
        assert_eq!(place.after(), Some(Some(8)));
        place.begin_again();
        let new: Vec<bool> = [9, 9, 9, 10].into_iter().map(|seq| place.count(seq)).collect();
        assert_eq!(new, [false, false, true, true]);
        // It is lost a second time, while the first part comes again.
        let mut place = Place::Within { seq: 9, come: 2, again: 0 };
        place.begin_again();
        assert!(!place.count(9));
        place.begin_again();
        let new: Vec<bool> = [9, 9, 9].into_iter().map(|seq| place.count(seq)).collect();
        assert_eq!(new, [false, false, true]);
    }

    #[test]
    fn where_it_began_may_be_unknown() {
        assert_eq!((Place::Now.after(), Place::Unknown.after()), (Some(None), None));
        let mut place = Place::Unknown;
        assert!(place.count(3));
        assert_eq!(place.after(), Some(Some(2)));
    }
}
