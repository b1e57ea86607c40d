//! A link: the socket of a connection, with or without TLS, what came from it and what is to go.
//!
//! Reading goes on while replies wait to be sent, because there are clients that send everything
//! before they read anything. Where more waits than the high-water mark, reading stops; where more
//! waits than may, the connection ends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

use super::metrics::{CloseReason, Protocol};
use super::peer::{Order, Peer};
use super::shared::Shared;

/// How much room there is at least for what comes.
const READ_BYTES: usize = 16 << 10;
/// Replies and requests that take no more are not counted: every connection has so much.
const FREE_BYTES: usize = 64 << 10;

/// How much is read, and for how long, of a connection that is to be closed.
const DRAIN_BYTES: usize = 4 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A socket.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What happened on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// More has come.
    Read,
    /// Nothing more will come.
    Ended,
    /// As much was sent as was asked for.
    Sent,
}

/// What a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// That it logs in.
    Login,
    /// A request.
    Request,
    /// The rest of a request.
    Rest,
}

/// Why a link is of no more use.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer or the network did it.
    Io,
    /// The server did it.
    Closed(CloseReason),
}

pub(crate) struct Link {
    transport: Transport,
    pub(crate) input: BytesMut,
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Arc<Peer>,
    /// How much of the replies is sent already.
    sent: usize,
    /// Whether TLS holds back bytes that it took. They count as unsent.
    needs_flush: bool,
    /// What of the replies is counted.
    held: usize,
    /// The most that the input has held since it got its memory, and what of that is counted.
    input_peak: usize,
    input_held: usize,
    /// Since when the rest of a request is waited for; 0: it is not.
    request_since_ms: u64,
    protocol: Protocol,
}

impl Link {
    pub(crate) fn new(transport: Transport, shared: Arc<Shared>, peer: Arc<Peer>) -> Link {
        let input = BytesMut::with_capacity(READ_BYTES);
        Link {
            transport,
            input,
            shared,
            peer,
            sent: 0,
            needs_flush: false,
            held: 0,
            input_peak: 0,
            input_held: 0,
            request_since_ms: 0,
            protocol: Protocol::Resp,
        }
    }

    /// A request has come to its end: the next one has all of its time.
    pub(crate) fn taken(&mut self) {
        self.request_since_ms = 0;
    }

    /// Says what is spoken, for the counters.
    pub(crate) fn speaks(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes of replies are not sent yet.
    pub(crate) fn unsent(&self, replies: &[u8]) -> usize {
        replies.len() - self.sent
    }

    /// Sends what can be sent, and waits until more has come.
    pub(crate) async fn read(
        &mut self,
        replies: &mut Vec<u8>,
        awaited: Awaited,
    ) -> Result<Turn, Broken> {
        self.turn(replies, Some(awaited), 0).await
    }

    /// Tells the peer that nothing more comes. What TLS still holds back goes first: a peer that
    /// `may_wait` has the time for it that it has for other replies.
    pub(crate) async fn end(&mut self, may_wait: bool) {
        // What has come and was not taken never will be, and others may have the room.
        (self.input, self.input_peak) = (BytesMut::new(), 0);
        self.hold_input();
        let peer = Arc::clone(&self.peer);
        let mut ordered = std::pin::pin!(peer.ordered.notified());
        poll_fn(|context| {
            loop {
                let is_over = !may_wait || matches!(peer.order(), Order::End(_));
                if self.transport.poll_end(context).is_ready() || is_over {
                    return Poll::Ready(());
                }
                self.needs_flush = true;
                self.set_deadline(None, &[]);
                if ordered.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                ordered.set(peer.ordered.notified());
            }
        })
        .await;
        self.end_wait(None);
    }

    /// Reads what is still coming, not all of it and not for long: closed with unread bytes, a
    /// connection is reset, which may take the last answer back.
    pub(crate) async fn drain(&mut self) {
        let rest = async {
            let mut read = 0;
            while read < DRAIN_BYTES {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                match poll_fn(|context| self.transport.poll_read(context, &mut self.input)).await {
                    Ok(more) if more > 0 => read += more,
                    _ => break,
                }
            }
        };
        // Who has not closed the connection by then has had its time to read.
        let _ = timeout(DRAIN_TIME, rest).await;
    }

    /// Sends until no more than `left` bytes are left.
    pub(crate) async fn send(&mut self, replies: &mut Vec<u8>, left: usize) -> Result<(), Broken> {
        // Nothing is read meanwhile, so no request can go on.
        self.request_since_ms = 0;
        self.turn(replies, None, left).await.map(|_| ())
    }

    async fn turn(
        &mut self,
        replies: &mut Vec<u8>,
        awaited: Option<Awaited>,
        left: usize,
    ) -> Result<Turn, Broken> {
        // Before the replies go: whoever has one may count on the room that its request took. Where
        // some may stay unsent, requests may wait that lie in that memory.
        if left == 0 {
            self.let_go_of_input();
        }
        let peer = Arc::clone(&self.peer);
        let mut ordered = std::pin::pin!(peer.ordered.notified());
        let limit = match awaited {
            Some(Awaited::Login) => self.shared.config.unauthenticated_buffer_bytes_max,
            _ => self.shared.config.output_bytes_per_connection_max,
        };
        poll_fn(|context| {
            loop {
                self.flush(replies, context)?;
                let is_held_back = self.needs_flush && left == 0;
                if awaited.is_none() && self.unsent(replies) <= left && !is_held_back {
                    self.end_wait(awaited);
                    return Poll::Ready(Ok(Turn::Sent));
                }
                self.count(replies, limit)?;
                if awaited.is_some()
                    && let Poll::Ready(turn) = self.poll_input(context)
                {
                    self.end_wait(awaited);
                    return Poll::Ready(turn);
                }
                match peer.order() {
                    Order::GoOn => {}
                    Order::End(reason) => return Poll::Ready(Err(Broken::Closed(reason))),
                    // Nothing more has come, or is wanted. A task that has had its share is told so
                    // in any case, and asks again.
                    Order::Finish if awaited.is_some() && has_budget_remaining() => {
                        return Poll::Ready(Ok(Turn::Ended));
                    }
                    Order::Finish => {}
                }
                self.set_deadline(awaited, replies);
                // An order that came meanwhile is seen at the next turn of the loop.
                if ordered.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                ordered.set(peer.ordered.notified());
            }
        })
        .await
    }

    /// Writes as much as the socket takes. TLS takes more than that, and says so only when it is
    /// asked to flush: it is asked at each turn, until nothing is left.
    fn flush(&mut self, replies: &mut Vec<u8>, context: &mut Context<'_>) -> Result<(), Broken> {
        while let Some(rest) = replies.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.transport.poll_write(context, rest) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(Broken::Io),
                Poll::Ready(Ok(written)) => {
                    self.sent += written;
                    self.needs_flush = self.transport.holds_back();
                    self.shared.metrics.sent(self.protocol, written as u64);
                }
                Poll::Pending => break,
            }
        }
        if self.sent == replies.len() {
            if self.sent > 0 {
                (self.sent, *replies) = (0, emptied(std::mem::take(replies)));
            }
            if self.needs_flush {
                match self.transport.poll_flush(context) {
                    Poll::Ready(Ok(())) => self.needs_flush = false,
                    Poll::Ready(Err(_)) => return Err(Broken::Io),
                    Poll::Pending => {}
                }
            }
        } else if self.sent > replies.len() / 2 && self.sent > FREE_BYTES {
            replies.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Ends the connection where its replies are too many.
    fn count(&mut self, replies: &[u8], limit: usize) -> Result<(), Broken> {
        let unsent = self.unsent(replies);
        let now = if unsent > FREE_BYTES { unsent } else { 0 };
        if now == self.held {
            return Ok(());
        }
        let has_room = self.shared.hold_output(self.held, now);
        self.held = now;
        match has_room && unsent <= limit {
            true => Ok(()),
            false => Err(Broken::Closed(CloseReason::Output)),
        }
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Result<Turn, Broken>> {
        self.count_input()?;
        self.input.reserve(READ_BYTES);
        Poll::Ready(match ready!(self.transport.poll_read(context, &mut self.input)) {
            Ok(0) => Ok(Turn::Ended),
            Ok(read) => {
                self.shared.metrics.received(self.protocol, read as u64);
                Ok(Turn::Read)
            }
            Err(_) => Err(Broken::Io),
        })
    }

    /// Lets go of memory that was needed for a longer request.
    fn let_go_of_input(&mut self) {
        let len = self.input.len();
        if self.input_peak > FREE_BYTES && len <= self.input_peak / 4 {
            let mut input = BytesMut::with_capacity(len + READ_BYTES);
            input.extend_from_slice(&self.input);
            (self.input, self.input_peak) = (input, len);
            self.hold_input();
        }
    }

    /// Counts what has come of requests that are not whole.
    fn count_input(&mut self) -> Result<(), Broken> {
        self.input_peak = self.input_peak.max(self.input.len());
        if self.hold_input() { Ok(()) } else { Err(Broken::Closed(CloseReason::Input)) }
    }

    /// Whether there is room for what the input takes.
    fn hold_input(&mut self) -> bool {
        let now = if self.input_peak > FREE_BYTES { self.input_peak } else { 0 };
        let has_room = now == self.input_held || self.shared.hold_input(self.input_held, now);
        self.input_held = now;
        has_room
    }

    /// Lets the peer be late no more: from here on it waits for the server.
    fn end_wait(&self, awaited: Option<Awaited>) {
        // Until it has logged in, its time is that of the whole handshake.
        if awaited != Some(Awaited::Login) {
            self.peer.wait_no_more();
        }
    }

    /// Says until when the peer has to do what is waited for.
    fn set_deadline(&mut self, awaited: Option<Awaited>, replies: &[u8]) {
        let config = &self.shared.config;
        let now_ms = self.shared.coarse_ms();
        let mut since_ms = now_ms;
        if awaited != Some(Awaited::Rest) {
            // What had come of a request was no more than blanks.
            self.request_since_ms = 0;
        }
        let (time_ms, reason) = match awaited {
            // Since the connection began; set there.
            Some(Awaited::Login) => return,
            // Since the first wait for it: however slowly it comes, it gains no time.
            Some(Awaited::Rest) => {
                if self.request_since_ms == 0 {
                    self.request_since_ms = now_ms;
                }
                since_ms = self.request_since_ms;
                (config.request_timeout_ms, CloseReason::Request)
            }
            _ if self.needs_flush || self.unsent(replies) > 0 => {
                (config.request_timeout_ms, CloseReason::Output)
            }
            None => (0, CloseReason::Output),
            Some(Awaited::Request) => (config.idle_timeout_ms, CloseReason::Idle),
        };
        self.peer.active_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        let deadline_ms = if time_ms == 0 { 0 } else { since_ms.saturating_add(time_ms) };
        self.peer.wait_until(deadline_ms, reason);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.hold_output(self.held, 0);
        self.shared.hold_input(self.input_held, 0);
    }
}

/// The same memory without what was in it, if it is not too much to keep.
fn emptied(mut replies: Vec<u8>) -> Vec<u8> {
    replies.clear();
    replies.shrink_to(FREE_BYTES);
    replies
}

impl Transport {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(stream) => poll_read_buf(Pin::new(stream), context, input),
            Transport::Tls(stream) => poll_read_buf(Pin::new(stream), context, input),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    /// Whether what was written may still be here.
    fn holds_back(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
