//! A stream of pages: what is granted as pages are taken, and what is cancelled when nobody wants
//! more of it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::call::Caller;
use super::error::Result;
use super::pending::Event;
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{CancelRequest, GrantRequest};

/// How many pages may be on their way.
pub(super) const PAGES: u32 = 4;
/// What a page holds at most, about.
pub(super) const PAGE_RECORDS: u32 = 1000;
pub(super) const PAGE_BYTES: u32 = 256 << 10;

/// A stream on one connection.
pub(super) struct Stream {
    caller: Arc<Caller>,
    id: u64,
    events: mpsc::Receiver<Event>,
    is_over: bool,
}

impl Stream {
    /// Begins one that was asked for with [`PAGES`] pages.
    pub(super) async fn open(caller: &Arc<Caller>, asked: Asked) -> Result<Stream> {
        let (id, events) = caller.open(asked, PAGES).await?;
        Ok(Stream { caller: Arc::clone(caller), id, events, is_over: false })
    }

    /// The next that comes; none: the connection is lost. Nothing is lost if it is not waited for
    /// to its end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        match &event {
            // Closed: the connection is lost, and this came before.
            Some(Event::Page(_)) if self.events.is_closed() => {}
            Some(Event::Page(Kind::ScanPage(_) | Kind::WatchPage(_))) => {
                self.caller.control(self.id, Asked::Grant(GrantRequest { pages: 1 }));
            }
            Some(Event::Page(_)) => {}
            Some(Event::End | Event::Failed(_)) | None => self.is_over = true,
        }
        event
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_over {
            self.caller.control(self.id, Asked::Cancel(CancelRequest {}));
        }
    }
}
