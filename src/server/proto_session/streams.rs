//! The scans and watches of a connection: a task each. Their pages come through one channel with
//! few places, so that they are made no faster than the client takes them.

use std::collections::HashMap;
use std::future;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::pages::{Feed, Source, send_changes, send_records};
use crate::engine::{Scan, check_range};
use crate::error::KvsError;
use crate::protocol::proto::messages::{Code, Error, StreamEnd, WatchStarted};
use crate::protocol::proto::request::{ScanCommand, WatchCommand};
use crate::server::shared::{Room, Shared};

/// The scans and watches that a connection can have at once. The client is told so.
pub(super) const STREAMS_MAX: usize = 64;

/// The pages of all streams that wait for the connection.
const PAGES_WAITING: usize = 4;

/// A frame of a stream.
pub(super) struct Page {
    pub(super) id: u64,
    /// Tells streams apart that had the same id one after the other.
    pub(super) serial: u64,
    pub(super) frame: Vec<u8>,
    /// Nothing follows: the frame is an end or an error.
    pub(super) is_last: bool,
    /// It is counted until it is among the replies, which are.
    pub(super) _room: Option<Room>,
}

struct Stream {
    serial: u64,
    credit: Arc<Semaphore>,
    task: JoinHandle<()>,
}

pub(super) struct Streams {
    shared: Arc<Shared>,
    all: HashMap<u64, Stream>,
    last_serial: u64,
    sender: mpsc::Sender<Page>,
    receiver: mpsc::Receiver<Page>,
}

impl Streams {
    pub(super) fn new(shared: Arc<Shared>) -> Streams {
        let (sender, receiver) = mpsc::channel(PAGES_WAITING);
        Streams { shared, all: HashMap::new(), last_serial: 0, sender, receiver }
    }

    /// The next page of any of them. No page is lost if it is not waited for to its end.
    pub(super) async fn next(&mut self) -> Page {
        match self.receiver.recv().await {
            Some(page) => page,
            // It does not close: there is a sender here as well.
            None => future::pending().await,
        }
    }

    /// Adds a page to what is to be sent, unless its stream was cancelled meanwhile.
    pub(super) fn put(&mut self, page: Page, out: &mut Vec<u8>) {
        let is_there = |stream: &Stream| stream.serial == page.serial;
        if !self.all.get(&page.id).is_some_and(is_there) {
            return;
        }
        out.extend_from_slice(&page.frame);
        if page.is_last {
            self.all.remove(&page.id);
        }
    }

    /// Lets so many pages more come. A stream that has ended needs none.
    pub(super) fn grant(&self, id: u64, pages: u32) {
        if let Some(stream) = self.all.get(&id) {
            add_credit(&stream.credit, pages);
        }
    }

    /// Ends a stream; none: it has ended before.
    pub(super) fn cancel(&mut self, id: u64) -> Option<StreamEnd> {
        let stream = self.all.remove(&id)?;
        stream.task.abort();
        Some(StreamEnd { cancelled: true })
    }

    /// Begins a scan, which sees what was executed before. The moment that it shows is taken here;
    /// nothing is read before there is credit.
    pub(super) async fn scan(
        &mut self,
        id: u64,
        command: ScanCommand,
        frame_bytes_max: usize,
    ) -> Result<(), Error> {
        self.check_place(id)?;
        let ScanCommand { from, to, reverse, without_values, records_max, paging } = command;
        let failed = |error: KvsError| Error::of(&error, false);
        check_range(&from, &to).map_err(failed)?;
        let scan = Scan { from, to, reverse, keys_only: without_values };
        let engine = &self.shared.engine;
        let source = match engine.capabilities().snapshots {
            true => Source::Snapshot(engine.snapshot().await.map_err(failed)?, scan),
            false => Source::Pages(engine.scan(scan).await.map_err(failed)?),
        };
        let serial = self.next_serial();
        let (feed, credit) =
            Feed::new((id, serial), frame_bytes_max, paging, &self.sender, &self.shared);
        add_credit(&credit, paging.credit);
        let task = tokio::spawn(send_records(feed, source, records_max));
        self.all.insert(id, Stream { serial, credit, task });
        Ok(())
    }

    /// Begins a watch.
    pub(super) async fn watch(
        &mut self,
        id: u64,
        command: WatchCommand,
        frame_bytes_max: usize,
    ) -> Result<WatchStarted, Error> {
        self.check_place(id)?;
        let WatchCommand { after, prefix, paging } = command;
        let failed = |error: KvsError| Error::of(&error, false);
        let changes = self.shared.engine.watch(after, &prefix).await.map_err(failed)?;
        // It has begun before that seq, so all after it will come.
        let after = match after {
            None if self.shared.engine.capabilities().snapshots => {
                self.shared.engine.snapshot().await.ok().map(|snapshot| snapshot.seq())
            }
            after => after,
        };
        let serial = self.next_serial();
        let (feed, credit) =
            Feed::new((id, serial), frame_bytes_max, paging, &self.sender, &self.shared);
        add_credit(&credit, paging.credit);
        let task = tokio::spawn(send_changes(feed, changes));
        self.all.insert(id, Stream { serial, credit, task });
        Ok(WatchStarted { after })
    }

    fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    fn check_place(&self, id: u64) -> Result<(), Error> {
        if self.all.contains_key(&id) {
            return Err(Error::new(Code::InvalidRequest, "a stream has this id already"));
        }
        if self.all.len() >= STREAMS_MAX {
            let mut error = Error::new(Code::TooManyStreams, "there are too many streams already");
            error.limit = u64::try_from(STREAMS_MAX).ok();
            return Err(error);
        }
        Ok(())
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.all.values().for_each(|stream| stream.task.abort());
    }
}

/// Adds credit, as far as it can be counted.
fn add_credit(credit: &Semaphore, pages: u32) {
    let room = Semaphore::MAX_PERMITS.saturating_sub(credit.available_permits());
    credit.add_permits(usize::try_from(pages).unwrap_or(usize::MAX).min(room));
}
