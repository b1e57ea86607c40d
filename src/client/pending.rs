//! The requests of one connection that wait for their answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::error::{ClientError, Result, ServerError};
use crate::protocol::proto::messages::Response;
use crate::protocol::proto::messages::response::Kind;

/// A request on its way to the connection.
pub(crate) struct Queued {
    pub(crate) id: u64,
    pub(crate) frame: Bytes,
    pub(crate) waiter: Waiter,
}

/// Who waits for what comes with an id.
pub(crate) enum Waiter {
    One(oneshot::Sender<Result<Kind>>, Arc<Fate>),
    Stream(mpsc::Sender<Event>),
}

/// What comes to a stream. When its connection is lost, nothing more does.
pub(crate) enum Event {
    Page(Kind),
    End,
    Failed(ClientError),
}

/// Whether a request was sent: its caller and the connection must not differ over that.
#[derive(Default)]
pub(crate) struct Fate(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const ABANDONED: u8 = 2;

impl Fate {
    /// It is about to be sent. False: nobody wants it any more.
    fn send(&self) -> bool {
        self.leave_waiting(SENT)
    }

    /// Nobody waits any more. True: it is not sent, and never will be.
    pub(crate) fn abandon(&self) -> bool {
        self.leave_waiting(ABANDONED)
    }

    /// Its connection was lost, and it will be sent again: it waits as before.
    pub(crate) fn wait_again(&self) {
        self.0.store(WAITING, Ordering::Release);
    }

    fn leave_waiting(&self, to: u8) -> bool {
        self.0.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Waiter {
    /// Whether its request is still wanted; it is sent then.
    pub(crate) fn send(&self) -> bool {
        match self {
            Waiter::One(_, fate) => fate.send(),
            Waiter::Stream(events) => !events.is_closed(),
        }
    }

    /// Whether it could be answered now without anybody to take it.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Waiter::One(answer, _) => answer.is_closed(),
            Waiter::Stream(events) => events.is_closed(),
        }
    }

    /// Answers it with an error.
    pub(crate) fn fail(self, error: ClientError) {
        match self {
            // Where nobody waits any more, nobody needs to know.
            Waiter::One(answer, _) => drop(answer.send(Err(error))),
            Waiter::Stream(events) => drop(events.try_send(Event::Failed(error))),
        }
    }
}

/// All of a connection.
#[derive(Default)]
pub(crate) struct Pending {
    waiting: Mutex<Waiting>,
    /// Told when there are fewer.
    fewer: Notify,
}

#[derive(Default)]
struct Waiting {
    /// With the time at which each was sent.
    by_id: HashMap<u64, (Waiter, Instant)>,
    /// Without streams, which do not count.
    ones: usize,
}

impl Pending {
    /// Adds one that is about to be sent.
    pub(crate) fn insert(&self, id: u64, waiter: Waiter) {
        let mut waiting = self.lock();
        waiting.ones += usize::from(matches!(waiter, Waiter::One(..)));
        waiting.by_id.insert(id, (waiter, Instant::now()));
    }

    /// Waits until there are fewer than `limit`; how many fewer.
    pub(crate) async fn room(&self, limit: usize) -> usize {
        loop {
            let notified = self.fewer.notified();
            let room = limit.saturating_sub(self.lock().ones);
            if room > 0 {
                return room;
            }
            notified.await;
        }
    }

    /// Whether an answer is due for so long.
    pub(crate) fn is_overdue(&self, time: Duration) -> bool {
        let waiting = self.lock();
        let mut all = waiting.by_id.values();
        all.any(|(waiter, sent)| matches!(waiter, Waiter::One(..)) && sent.elapsed() >= time)
    }

    /// Hands a response to who waits for it. An error: the server does not keep to the protocol,
    /// or ends the connection.
    pub(crate) fn answer(&self, response: Response) -> std::result::Result<(), String> {
        let Response { id, kind: Some(kind) } = response else {
            return Err("an answer of no known kind".to_owned());
        };
        let mut waiting = self.lock();
        if let (0, Kind::Error(error)) = (id, &kind) {
            return Err(error.text.clone());
        }
        let is_page =
            matches!(kind, Kind::ScanPage(_) | Kind::WatchPage(_) | Kind::WatchStarted(_));
        if is_page {
            return match waiting.by_id.get(&id) {
                Some((Waiter::Stream(events), _)) => put_page(events, kind),
                _ => Err("a page that was not asked for".to_owned()),
            };
        }
        let Some((waiter, _)) = waiting.by_id.remove(&id) else {
            return Err("an answer that was not asked for".to_owned());
        };
        match (waiter, kind) {
            (Waiter::Stream(events), Kind::StreamEnd(_)) => drop(events.try_send(Event::End)),
            (Waiter::Stream(events), Kind::Error(error)) => {
                let error = ServerError::from(error).into();
                drop(events.try_send(Event::Failed(error)));
            }
            (Waiter::One(answer, _), kind) => {
                waiting.ones -= 1;
                self.fewer.notify_one();
                drop(answer.send(Ok(kind)));
            }
            (Waiter::Stream(_), _) => return Err("an answer that is no page".to_owned()),
        }
        Ok(())
    }

    /// Tells everybody that the connection is lost.
    pub(crate) fn lose(&self, addr: &str, reason: &str) {
        let waiting = std::mem::take(&mut *self.lock());
        for (waiter, _) in waiting.by_id.into_values() {
            if let Waiter::One(answer, _) = waiter {
                let (addr, reason) = (addr.to_owned(), reason.to_owned());
                // What is unknown depends on what was asked; that is for the caller to say.
                drop(answer.send(Err(ClientError::Lost { addr, reason, outcome_unknown: true })));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is always room: the server sends no more pages than were granted.
fn put_page(events: &mpsc::Sender<Event>, page: Kind) -> std::result::Result<(), String> {
    match events.try_send(Event::Page(page)) {
        Err(mpsc::error::TrySendError::Full(_)) => Err("more pages than were granted".to_owned()),
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Fate;

    #[test]
    fn what_is_abandoned_is_not_sent_and_what_is_sent_cannot_be_abandoned() {
        let fate = Fate::default();
        assert!(fate.abandon() && !fate.send());
        let fate = Fate::default();
        assert!(fate.send() && !fate.abandon());
        fate.wait_again();
        assert!(fate.send());
    }
}
