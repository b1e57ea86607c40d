//! Peers: what the server knows of its connections from outside of them, and how it ends them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::metrics::CloseReason;

/// What a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    GoOn,
    /// Answer what has come, and end.
    Finish,
    /// End at once.
    End(CloseReason),
}

/// A connection, as others see it.
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) addr: SocketAddr,
    pub(crate) local_addr: SocketAddr,
    pub(crate) since: Instant,
    /// When it last sent a request, and until when it must do what it is waited for; in
    /// milliseconds of the server's clock, 0: for ever.
    pub(crate) active_ms: AtomicU64,
    pub(crate) deadline_ms: AtomicU64,
    /// Why it is closed when the deadline is over, as the place of a `CloseReason`.
    late_reason: AtomicU8,
    order: AtomicU8,
    pub(crate) ordered: Notify,
    about: Mutex<About>,
}

/// What a client says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) last_command: &'static str,
    pub(crate) resp_version: i64,
    /// Commands that its transaction has queued; none: it is in no transaction.
    pub(crate) queued: Option<usize>,
    pub(crate) watched: usize,
}

const GO_ON: u8 = u8::MAX;
const FINISH: u8 = u8::MAX - 1;

impl Peer {
    pub(crate) fn about(&self) -> MutexGuard<'_, About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            GO_ON => Order::GoOn,
            FINISH => Order::Finish,
            reason => Order::End(reason_at(reason)),
        }
    }

    /// Has the connection answer what has come, and end.
    pub(crate) fn finish(&self) {
        // An order to end at once stands.
        let order = &self.order;
        let _ = order.compare_exchange(GO_ON, FINISH, Ordering::AcqRel, Ordering::Relaxed);
        self.ordered.notify_one();
    }

    /// Ends the connection.
    pub(crate) fn end(&self, reason: CloseReason) {
        self.order.store(place_of(reason), Ordering::Release);
        self.ordered.notify_one();
    }

    /// What the connection must do next has time until then; 0: for ever.
    pub(crate) fn wait_until(&self, deadline_ms: u64, reason: CloseReason) {
        self.late_reason.store(place_of(reason), Ordering::Relaxed);
        self.deadline_ms.store(deadline_ms, Ordering::Release);
    }

    /// Nothing is waited for: the connection is at work.
    pub(crate) fn wait_no_more(&self) {
        self.deadline_ms.store(0, Ordering::Release);
    }

    /// Ends the connection if it has had its time.
    fn end_if_late(&self, now_ms: u64) {
        let deadline_ms = self.deadline_ms.load(Ordering::Acquire);
        if deadline_ms != 0 && now_ms > deadline_ms {
            self.end(reason_at(self.late_reason.load(Ordering::Relaxed)));
        }
    }
}

fn place_of(reason: CloseReason) -> u8 {
    u8::try_from(reason.index()).unwrap_or_default()
}

fn reason_at(place: u8) -> CloseReason {
    CloseReason::ALL.get(usize::from(place)).copied().unwrap_or(CloseReason::Killed)
}

/// The connections that there are.
#[derive(Default)]
pub(crate) struct Peers {
    all: Mutex<BTreeMap<u64, Arc<Peer>>>,
    last_id: AtomicU64,
}

impl Peers {
    /// Adds a connection; it is there until what this gives is dropped.
    pub(crate) fn enter(self: &Arc<Peers>, addr: SocketAddr, local_addr: SocketAddr) -> Entered {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = Arc::new(Peer {
            id,
            addr,
            local_addr,
            since: Instant::now(),
            active_ms: AtomicU64::new(0),
            deadline_ms: AtomicU64::new(0),
            late_reason: AtomicU8::new(0),
            order: AtomicU8::new(GO_ON),
            ordered: Notify::new(),
            about: Mutex::default(),
        });
        self.lock().insert(id, Arc::clone(&peer));
        Entered { peers: Arc::clone(self), peer }
    }

    /// All of them, by their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Ends those that have had their time.
    pub(crate) fn end_late(&self, now_ms: u64) {
        self.lock().values().for_each(|peer| peer.end_if_late(now_ms));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Peer>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is among the others.
pub(crate) struct Entered {
    peers: Arc<Peers>,
    pub(crate) peer: Arc<Peer>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.peers.lock().remove(&self.peer.id);
    }
}
