//! What the task of a stream does: it reads ahead by one page, cuts what it has read into frames
//! that the client takes, and sends each when there is credit for it.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};
use tokio::sync::{Semaphore, mpsc};

use super::streams::Page;
use crate::engine::{Changes, Found, Pages};
use crate::error::{KvsError, Result};
use crate::protocol::frame::to_u64;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{Change, Error, Record, ScanPage, StreamEnd, WatchPage};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::Paging;

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
        };
        (feed, credit)
    }

    /// Sends items in as few pages as can be, each when there is credit for it.
    async fn send_all<T: Message>(&self, items: Vec<T>, kind: fn(Vec<T>) -> Kind) -> Sent {
        let mut items = VecDeque::from(items);
        while !items.is_empty() {
            let page = items.drain(..self.fitting(&items)).collect();
            self.credit.acquire().await.map_err(|_| Ended)?.forget();
            self.send(kind(page)).await?;
        }
        Ok(())
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
        let is_last = !is_page || !fits;
        let page = Page { id: self.id, serial: self.serial, frame, is_last };
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
pub(super) async fn send_records(
    feed: Feed,
    pages: Result<Box<dyn Pages>>,
    records_max: Option<u64>,
) {
    // Whatever ended it, the client knows or is gone.
    let _ = records(&feed, pages, records_max).await;
}

async fn records(feed: &Feed, pages: Result<Box<dyn Pages>>, records_max: Option<u64>) -> Sent {
    let mut pages = match pages {
        Ok(pages) => pages,
        Err(error) => return feed.fail(&error).await,
    };
    let mut left = records_max.unwrap_or(u64::MAX);
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(feed.page_records);
        let page = match pages.next(count, feed.page_bytes).await {
            Ok(page) => page,
            Err(error) => return feed.fail(&error).await,
        };
        if page.is_empty() {
            break;
        }
        left = left.saturating_sub(to_u64(page.len()));
        let record = |(key, found): Found| Record { key: key.into(), found: Some(found.into()) };
        let records = page.into_iter().map(record).collect();
        feed.send_all(records, |records| Kind::ScanPage(ScanPage { records })).await?;
    }
    feed.send(Kind::StreamEnd(StreamEnd { cancelled: false })).await
}

/// Sends the changes of a watch.
pub(super) async fn send_changes(feed: Feed, changes: Box<dyn Changes>) {
    let _ = all_changes(&feed, changes).await;
}

async fn all_changes(feed: &Feed, mut changes: Box<dyn Changes>) -> Sent {
    let mut count = FIRST_CHANGES;
    loop {
        let next = match changes.next(count.clamp(1, feed.page_records)).await {
            Ok(next) => next,
            Err(error) => return feed.fail(&error).await,
        };
        let next: Vec<Change> = next.into_iter().map(Change::from).collect();
        // As many the next time as make a page, if they are as long as these.
        let bytes: usize = next.iter().map(Change::encoded_len).sum();
        count = feed.page_bytes.saturating_mul(next.len().max(1)) / bytes.max(1);
        feed.send_all(next, |changes| Kind::WatchPage(WatchPage { changes })).await?;
    }
}
