//! What the task of a stream does: it waits for credit, reads a page, cuts what it has read into
//! frames that the client takes, and sends each when there is credit for it.
//!
//! The end of a scan takes no credit, so between two pages one record is read ahead, to see whether
//! there is one. What a stream holds meanwhile is counted as replies are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::streams::Page;
use crate::engine::{Changes, EngineSnapshot, Found, Pages, Scan};
use crate::error::KvsError;
use crate::protocol::frame::to_u64;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    Change, Code, Error, Record, ScanPage, StreamEnd, WatchPage,
};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::Paging;
use crate::server::shared::{Room, Shared};

/// How large a page is where the client does not say, and at most, in records and in bytes.
const PAGE_RECORDS: usize = 1000;
const PAGE_RECORDS_MAX: usize = 10_000;
const PAGE_BYTES: usize = 256 << 10;
const PAGE_BYTES_MAX: usize = 4 << 20;
/// The changes that are read before it is known how long they are.
const FIRST_CHANGES: usize = 16;
/// What is around the records of a page: ids, kinds and lengths.
const AROUND_BYTES: usize = 64;

/// The way from a stream to its client.
pub(super) struct Feed {
    id: u64,
    serial: u64,
    frame_bytes_max: usize,
    page_records: usize,
    page_bytes: usize,
    credit: Arc<Semaphore>,
    sender: mpsc::Sender<Page>,
    shared: Arc<Shared>,
}

/// Where the records of a scan come from.
pub(super) enum Source {
    /// A range of a moment, which is not read yet.
    Snapshot(Box<dyn EngineSnapshot>, Scan),
    /// The state as it is at each page.
    Pages(Box<dyn Pages>),
}

/// A stream that has ended: it is over, or nobody takes its pages any more.
struct Ended;

type Sent = std::result::Result<(), Ended>;

impl Feed {
    /// With what holds its credit, which is none yet.
    pub(super) fn new(
        (id, serial): (u64, u64),
        frame_bytes_max: usize,
        paging: Paging,
        sender: &mpsc::Sender<Page>,
        shared: &Arc<Shared>,
    ) -> (Feed, Arc<Semaphore>) {
        let size = |asked: u32, usual: usize, most: usize| match usize::try_from(asked) {
            Ok(0) => usual,
            Ok(asked) => asked.min(most),
            Err(_) => most,
        };
        let credit = Arc::new(Semaphore::new(0));
        let feed = Feed {
            id,
            serial,
            frame_bytes_max,
            page_records: size(paging.records, PAGE_RECORDS, PAGE_RECORDS_MAX),
            page_bytes: size(paging.bytes, PAGE_BYTES, PAGE_BYTES_MAX),
            credit: Arc::clone(&credit),
            sender: sender.clone(),
            shared: Arc::clone(shared),
        };
        (feed, credit)
    }

    /// Waits for credit for a page, and uses it.
    async fn take_credit(&self) -> Sent {
        self.credit.acquire().await.map_err(|_| Ended)?.forget();
        Ok(())
    }

    /// Sends items in as few pages as can be, each when there is credit for it. The first page has
    /// it already.
    async fn send_all<T: Message>(&self, items: Vec<T>, kind: fn(Vec<T>) -> Kind) -> Sent {
        let _room = self.room(bytes_of(&items)).await?;
        let mut items = VecDeque::from(items);
        let mut is_first = true;
        while !items.is_empty() {
            let page = items.drain(..self.fitting(&items)).collect();
            if !std::mem::take(&mut is_first) {
                self.take_credit().await?;
            }
            self.send(kind(page)).await?;
        }
        Ok(())
    }

    /// Room for so many bytes, or the end of the stream.
    async fn room(&self, bytes: usize) -> Result<Room, Ended> {
        match self.shared.room(bytes) {
            Some(room) => Ok(room),
            None => Err(self.refuse("too many bytes wait for clients", None).await),
        }
    }

    /// Ends the stream because others take what it needs.
    async fn refuse(&self, text: &str, limit: Option<usize>) -> Ended {
        let error = Error { limit: limit.map(to_u64), ..Error::new(Code::Busy, text) };
        let _ = self.send(Kind::Error(error)).await;
        Ended
    }

    /// How many of the first items make a page; at least one.
    fn fitting<T: Message>(&self, items: &VecDeque<T>) -> usize {
        let most = self.page_bytes.min(self.frame_bytes_max.saturating_sub(AROUND_BYTES));
        let (mut count, mut bytes) = (0, 0);
        for item in items.iter().take(self.page_records) {
            let len = item.encoded_len();
            bytes += key_len(1) + encoded_len_varint(to_u64(len)) + len;
            if count > 0 && bytes > most {
                break;
            }
            count += 1;
        }
        count
    }

    /// Sends a frame. A page that the client does not take becomes an error, which ends the stream
    /// as an end does.
    async fn send(&self, kind: Kind) -> Sent {
        let is_page = matches!(kind, Kind::ScanPage(_) | Kind::WatchPage(_));
        let mut frame = Vec::new();
        let fits = reply::put_if_it_fits(&mut frame, self.frame_bytes_max, self.id, kind);
        let mut is_last = !is_page || !fits;
        let mut room = None;
        if !is_last {
            room = self.shared.room(frame.len());
            if room.is_none() {
                is_last = true;
                frame.clear();
                let error = Error::new(Code::Busy, "too many bytes wait for clients");
                reply::put_error(&mut frame, self.id, error);
            }
        }
        let page = Page { id: self.id, serial: self.serial, frame, is_last, _room: room };
        match self.sender.send(page).await {
            Ok(()) if !is_last => Ok(()),
            _ => Err(Ended),
        }
    }

    async fn fail(&self, error: &KvsError) -> Sent {
        self.send(Kind::Error(Error::of(error, false))).await
    }
}

/// Sends the records of a scan, and its end.
pub(super) async fn send_records(feed: Feed, source: Source, records_max: Option<u64>) {
    // Whatever ended it, the client knows or is gone.
    let _ = records(&feed, source, records_max.unwrap_or(u64::MAX)).await;
}

async fn records(feed: &Feed, source: Source, mut left: u64) -> Sent {
    feed.take_credit().await?;
    let (mut pages, place) = begin(feed, source).await?;
    let _room = feed.room(pages.held_bytes()).await?;
    let mut ahead = Vec::new();
    while left > 0 {
        let (page, failed) = read_page(feed, &mut *pages, ahead, left).await;
        left = left.saturating_sub(to_u64(page.len()));
        let is_end = page.is_empty();
        if !is_end {
            feed.send_all(page, |records| Kind::ScanPage(ScanPage { records })).await?;
        }
        if let Some(error) = failed {
            return feed.fail(&error).await;
        }
        if is_end || left == 0 {
            break;
        }
        ahead = match pages.next(1, 1).await {
            Ok(found) => found,
            Err(error) => return feed.fail(&error).await,
        };
        if ahead.is_empty() {
            break;
        }
        let bytes = ahead.iter().map(|(key, found)| key.len() + found.value.len()).sum();
        let _room = feed.room(bytes).await?;
        wait_for_credit(feed, place.as_ref()).await?;
    }
    feed.send(Kind::StreamEnd(StreamEnd { cancelled: false })).await
}

/// Begins to read. A range that has to be sorted needs one of the places for such.
async fn begin(
    feed: &Feed,
    source: Source,
) -> Result<(Box<dyn Pages>, Option<OwnedSemaphorePermit>), Ended> {
    let (snapshot, scan) = match source {
        Source::Pages(pages) => return Ok((pages, None)),
        Source::Snapshot(snapshot, scan) => (snapshot, scan),
    };
    let mut place = None;
    if !feed.shared.engine.capabilities().ordered {
        place = Arc::clone(&feed.shared.sorted_scans).try_acquire_owned().ok();
        if place.is_none() {
            let limit = feed.shared.config.sorted_scans_max;
            let text = "there are too many scans already that had to sort all keys";
            return Err(feed.refuse(text, Some(limit)).await);
        }
    }
    // Whoever reads the pages keeps the moment; the snapshot is only the way to them.
    match snapshot.scan(scan).await {
        Ok(pages) => Ok((pages, place)),
        Err(error) => {
            let _ = feed.fail(&error).await;
            Err(Ended)
        }
    }
}

/// Waits for credit; not for ever where all places for sorted ranges are taken, and this one is.
async fn wait_for_credit(feed: &Feed, place: Option<&OwnedSemaphorePermit>) -> Sent {
    let patience_ms = feed.shared.config.request_timeout_ms;
    if place.is_none() || patience_ms == 0 {
        return feed.take_credit().await;
    }
    loop {
        match timeout(Duration::from_millis(patience_ms), feed.take_credit()).await {
            Ok(taken) => return taken,
            Err(_) if feed.shared.sorted_scans.available_permits() == 0 => {
                let text = "others wait for the place of this scan, which waits for credit";
                return Err(feed.refuse(text, None).await);
            }
            Err(_) => {}
        }
    }
}

/// Reads a page, of which some records may have been read already; with the error that cut it
/// short.
async fn read_page(
    feed: &Feed,
    pages: &mut dyn Pages,
    mut found: Vec<Found>,
    left: u64,
) -> (Vec<Record>, Option<KvsError>) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(feed.page_records);
    let bytes: usize = found.iter().map(|(key, found)| key.len() + found.value.len()).sum();
    let mut failed = None;
    if found.len() < count && bytes < feed.page_bytes {
        match pages.next(count - found.len(), feed.page_bytes - bytes).await {
            Ok(more) => found.extend(more),
            Err(error) => failed = Some(error),
        }
    }
    let record = |(key, found): Found| Record { key: key.into(), found: Some(found.into()) };
    (found.into_iter().map(record).collect(), failed)
}

/// Sends the changes of a watch.
pub(super) async fn send_changes(feed: Feed, changes: Box<dyn Changes>) {
    let _ = all_changes(&feed, changes).await;
}

async fn all_changes(feed: &Feed, mut changes: Box<dyn Changes>) -> Sent {
    let mut count = FIRST_CHANGES;
    loop {
        feed.take_credit().await?;
        let next = match changes.next(count.clamp(1, feed.page_records)).await {
            Ok(next) => next,
            Err(error) => return feed.fail(&error).await,
        };
        let next: Vec<Change> = next.into_iter().map(Change::from).collect();
        // As many the next time as make a page, if they are as long as these.
        let bytes = bytes_of(&next);
        count = feed.page_bytes.saturating_mul(next.len().max(1)) / bytes.max(1);
        feed.send_all(next, |changes| Kind::WatchPage(WatchPage { changes })).await?;
    }
}

fn bytes_of<T: Message>(items: &[T]) -> usize {
    items.iter().map(T::encoded_len).sum()
}
