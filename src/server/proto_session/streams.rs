//! Scans and watches of a connection: a task each, with credit.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::engine::{Changes, KvsEngine, Pages, Scan};
use crate::error::KvsError;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    Code, Error, Record, ScanPage, StreamEnd, WatchPage, WatchStarted,
};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::{Paging, Refusal, ScanCommand, WatchCommand};

/// The scans and watches that a connection can have at once; the client is told.
pub(super) const STREAMS_MAX: usize = 64;

/// The pages of all streams that wait for the link.
const PAGES_WAITING: usize = 4;

/// How large pages are where the client does not say, and at most.
const PAGE_RECORDS: usize = 256;
const PAGE_RECORDS_MAX: usize = 10_000;
const PAGE_BYTES: usize = 256 << 10;
const PAGE_BYTES_MAX: usize = 8 << 20;

/// What a stream has to say.
pub(super) struct Page {
    id: u64,
    frames: Vec<u8>,
    is_last: bool,
}

struct Stream {
    credit: Arc<Semaphore>,
    task: JoinHandle<()>,
}

pub(super) struct Streams {
    engine: Arc<dyn KvsEngine>,
    all: HashMap<u64, Stream>,
    sender: mpsc::Sender<Page>,
    receiver: mpsc::Receiver<Page>,
}

impl Streams {
    pub(super) fn new(engine: Arc<dyn KvsEngine>) -> Streams {
        let (sender, receiver) = mpsc::channel(PAGES_WAITING);
        Streams { engine, all: HashMap::new(), sender, receiver }
    }

    /// The next page of any stream.
    pub(super) async fn next(&mut self) -> Page {
        match self.receiver.recv().await {
            Some(page) => page,
            // The sender is here as well.
            None => std::future::pending().await,
        }
    }

    /// Puts a page to the replies, unless its stream was cancelled meanwhile.
    pub(super) fn put(&mut self, page: Page, replies: &mut Vec<u8>) {
        if !self.all.contains_key(&page.id) {
            return;
        }
        replies.extend_from_slice(&page.frames);
        if page.is_last {
            self.all.remove(&page.id);
        }
    }

    pub(super) fn grant(&self, id: u64, pages: u32) {
        if let Some(stream) = self.all.get(&id) {
            add_credit(&stream.credit, pages);
        }
    }

    pub(super) fn cancel(&mut self, id: u64, replies: &mut Vec<u8>) {
        if let Some(stream) = self.all.remove(&id) {
            stream.task.abort();
            let end = Kind::StreamEnd(StreamEnd { cancelled: true });
            reply::put(replies, usize::MAX, id, end);
        }
    }

    /// Begins a scan, after everything that was sent before it.
    pub(super) async fn scan(
        &mut self,
        id: u64,
        command: ScanCommand,
        frame_bytes_max: usize,
    ) -> Result<(), Refusal> {
        self.check_place(id)?;
        let ScanCommand { from, to, reverse, without_values, records_max, paging } = command;
        let scan = Scan { from, to, reverse, keys_only: without_values };
        let failed = |error: KvsError| Refusal { id, error: Error::of(&error, false) };
        // A scan of an engine with snapshots is of one moment anyway.
        let pages = self.engine.scan(scan).await.map_err(failed)?;
        let credit = credit_of(paging);
        let stream = Sender::new(id, frame_bytes_max, &self.sender, &credit);
        let task = tokio::spawn(send_scan(stream, pages, records_max, paging));
        self.all.insert(id, Stream { credit, task });
        Ok(())
    }

    pub(super) async fn watch(
        &mut self,
        id: u64,
        command: WatchCommand,
        frame_bytes_max: usize,
    ) -> Result<WatchStarted, Refusal> {
        self.check_place(id)?;
        let WatchCommand { after, prefix, paging } = command;
        let failed = |error: KvsError| Refusal { id, error: Error::of(&error, false) };
        let changes = self.engine.watch(after, &prefix).await.map_err(failed)?;
        let credit = credit_of(paging);
        let stream = Sender::new(id, frame_bytes_max, &self.sender, &credit);
        let task = tokio::spawn(send_watch(stream, changes, paging));
        self.all.insert(id, Stream { credit, task });
        Ok(WatchStarted { after })
    }

    fn check_place(&self, id: u64) -> Result<(), Refusal> {
        let refuse = |code, text: &str| Err(Refusal { id, error: Error::new(code, text) });
        if self.all.contains_key(&id) {
            return refuse(Code::InvalidRequest, "a stream has this id already");
        }
        if self.all.len() >= STREAMS_MAX {
            return refuse(Code::TooManyStreams, "there are as many streams as can be");
        }
        Ok(())
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.all.values().for_each(|stream| stream.task.abort());
    }
}

fn credit_of(paging: Paging) -> Arc<Semaphore> {
    let credit = Arc::new(Semaphore::new(0));
    add_credit(&credit, paging.credit);
    credit
}

/// Adds credit, as far as it can be counted.
fn add_credit(credit: &Semaphore, pages: u32) {
    let room = (Semaphore::MAX_PERMITS / 2).saturating_sub(credit.available_permits());
    credit.add_permits(usize::try_from(pages).unwrap_or(usize::MAX).min(room));
}

/// The size of pages: records and bytes.
fn size_of(paging: Paging, frame_bytes_max: usize) -> (usize, usize) {
    let or = |asked: u32, usual: usize, most: usize| match usize::try_from(asked) {
        Ok(0) => usual,
        Ok(asked) => asked.min(most),
        Err(_) => most,
    };
    let bytes = or(paging.bytes, PAGE_BYTES, PAGE_BYTES_MAX).min(frame_bytes_max / 2);
    (or(paging.records, PAGE_RECORDS, PAGE_RECORDS_MAX), bytes)
}

/// The way from a stream to its connection.
struct Sender {
    id: u64,
    frame_bytes_max: usize,
    pages: mpsc::Sender<Page>,
    credit: Arc<Semaphore>,
}

impl Sender {
    fn new(
        id: u64,
        frame_bytes_max: usize,
        pages: &mpsc::Sender<Page>,
        credit: &Arc<Semaphore>,
    ) -> Sender {
        Sender { id, frame_bytes_max, pages: pages.clone(), credit: Arc::clone(credit) }
    }

    /// Waits until the client wants a page.
    async fn wait_for_credit(&self) {
        if let Ok(permit) = self.credit.acquire().await {
            permit.forget();
        }
    }

    /// Sends a page. False: nobody is there any more.
    async fn send(&self, kind: Kind, is_last: bool) -> bool {
        let mut frames = Vec::new();
        reply::put(&mut frames, self.frame_bytes_max, self.id, kind);
        self.pages.send(Page { id: self.id, frames, is_last }).await.is_ok()
    }

    async fn fail(&self, error: &KvsError) {
        self.send(Kind::Error(Error::of(error, false)), true).await;
    }
}

async fn send_scan(
    stream: Sender,
    mut pages: Box<dyn Pages>,
    records_max: Option<u64>,
    paging: Paging,
) {
    let (records, bytes) = size_of(paging, stream.frame_bytes_max);
    let mut left = records_max.unwrap_or(u64::MAX);
    while left > 0 {
        stream.wait_for_credit().await;
        let count = records.min(usize::try_from(left).unwrap_or(usize::MAX));
        let page = match pages.next(count, bytes).await {
            Ok(page) => page,
            Err(error) => return stream.fail(&error).await,
        };
        if page.is_empty() {
            break;
        }
        left -= page.len() as u64;
        let records = page
            .into_iter()
            .map(|(key, found)| Record { key: key.into(), found: Some(found.into()) })
            .collect();
        if !stream.send(Kind::ScanPage(ScanPage { records }), false).await {
            return;
        }
    }
    stream.send(Kind::StreamEnd(StreamEnd { cancelled: false }), true).await;
}

async fn send_watch(stream: Sender, mut changes: Box<dyn Changes>, paging: Paging) {
    let (count, bytes_max) = size_of(paging, stream.frame_bytes_max);
    loop {
        stream.wait_for_credit().await;
        let next = match changes.next(count).await {
            Ok(next) => next,
            Err(error) => return stream.fail(&error).await,
        };
        // One page, or several where values are long: those take credit as well.
        let (mut page, mut bytes, mut is_first) = (Vec::new(), 0, true);
        let mut next = next.into_iter().peekable();
        while let Some(change) = next.next() {
            bytes += change.key.len() + change.value.as_ref().map_or(0, |value| value.len());
            page.push(change.into());
            if bytes < bytes_max && next.peek().is_some() {
                continue;
            }
            if !std::mem::replace(&mut is_first, false) {
                stream.wait_for_credit().await;
            }
            let changes = std::mem::take(&mut page);
            bytes = 0;
            if !stream.send(Kind::WatchPage(WatchPage { changes }), false).await {
                return;
            }
        }
    }
}
