//! One request and its answer: the time that there is for it, and trying again where that is safe.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::backoff::Backoff;
use super::connection::Shared;
use super::error::{ClientError, ErrorCode, Result, ServerError};
use super::pending::{Event, Fate, Queued, Waiter};
use crate::protocol::frame;
use crate::protocol::proto::elements::ELEMENTS_MAX;
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{Error, Request};

/// What may be done when it is not known whether the server has a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Ask again: asking changes nothing, or the same however often.
    Freely,
    /// Ask again: it depends on a version, which a write that was done has changed. That it then
    /// does not hold may be our own doing.
    OnItsVersion,
    /// Give up.
    Never,
}

/// The way to the connection.
pub(crate) struct Caller {
    pub(crate) shared: Arc<Shared>,
    queue: mpsc::Sender<Queued>,
    control: mpsc::UnboundedSender<Vec<u8>>,
    next_id: AtomicU64,
}

/// Tells the connection, when its caller goes away, that the request need not be sent.
struct Abandon(Arc<Fate>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Caller {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Sender<Queued>,
        control: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Caller {
        Caller { shared, queue, control, next_id: AtomicU64::new(1) }
    }

    /// Asks, and waits for the answer. An error of the server is an error.
    pub(crate) async fn call(&self, asked: Asked, repeat: Repeat) -> Result<Kind> {
        let options = &self.shared.options;
        let deadline = Instant::now() + options.timeout;
        let (id, frame) = self.encode(asked)?;
        let abandon = Abandon(Arc::default());
        let fate = &abandon.0;
        let mut backoff = Backoff::new(options.delay, options.delay_max);
        let mut is_repeated = false;
        let mut refused = None;
        loop {
            let answer = match timeout_at(deadline, self.ask(id, &frame, fate)).await {
                Ok(answer) => answer,
                Err(_) => match (fate.abandon() && !is_repeated, refused) {
                    (true, Some(refused)) => return Err(refused),
                    (was_never_sent, _) => return Err(self.late(was_never_sent, repeat)),
                },
            };
            match answer {
                Ok(Kind::Error(error)) => match ServerError::from(error) {
                    // Nothing was done, so it can be asked again whatever it is.
                    error
                        if matches!(error.code, ErrorCode::Busy | ErrorCode::ShuttingDown)
                            && !error.outcome_unknown =>
                    {
                        refused = Some(ClientError::Server(error));
                    }
                    error if is_repeated => return Err(self.after_repeat(error.into(), repeat)),
                    error => return Err(error.into()),
                },
                Ok(Kind::CompareAndSwap(swap)) if is_repeated && swap.written.is_none() => {
                    return Err(self.unknown("its condition does not hold"));
                }
                Ok(kind) => return Ok(kind),
                Err(ClientError::Lost { addr, reason, .. }) => match repeat {
                    Repeat::Never => {
                        return Err(ClientError::Lost { addr, reason, outcome_unknown: true });
                    }
                    Repeat::Freely | Repeat::OnItsVersion => is_repeated = true,
                },
                Err(error) if is_repeated => return Err(self.after_repeat(error, repeat)),
                Err(error) => return Err(error),
            }
            fate.wait_again();
            backoff.wait(deadline).await;
        }
    }

    async fn ask(&self, id: u64, frame: &Bytes, fate: &Arc<Fate>) -> Result<Kind> {
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter::One(answer, Arc::clone(fate));
        let queued = Queued { id, frame: frame.clone(), waiter };
        self.queue.send(queued).await.map_err(|_| ClientError::Closed)?;
        answered.await.unwrap_or(Err(ClientError::Closed))
    }

    /// The error of a call whose time is over.
    fn late(&self, was_never_sent: bool, repeat: Repeat) -> ClientError {
        let outcome_unknown = !was_never_sent && repeat != Repeat::Freely;
        match self.shared.unreachable() {
            Some(error) if !outcome_unknown => error,
            _ => {
                let ms = self.shared.options.timeout.as_millis();
                let after_ms = u64::try_from(ms).unwrap_or(u64::MAX);
                ClientError::Timeout { after_ms, outcome_unknown }
            }
        }
    }

    /// The error of a call that was sent twice: of a write, it cannot be told whether the first was
    /// done.
    fn after_repeat(&self, error: ClientError, repeat: Repeat) -> ClientError {
        match repeat {
            Repeat::Freely => error,
            Repeat::OnItsVersion | Repeat::Never => self.unknown(&error.to_string()),
        }
    }

    fn unknown(&self, answer: &str) -> ClientError {
        ClientError::Lost {
            addr: self.shared.transport.addr.clone(),
            reason: format!("the write was sent again, and then: {answer}"),
            outcome_unknown: true,
        }
    }

    /// Begins a stream, for which `pages` may come at first.
    pub(crate) async fn open(
        &self,
        asked: Asked,
        pages: u32,
    ) -> Result<(u64, mpsc::Receiver<Event>)> {
        let (id, frame) = self.encode(asked)?;
        // The pages, what a watch begins with, and the end.
        let room = usize::try_from(pages).unwrap_or(usize::MAX).saturating_add(2);
        let (events, received) = mpsc::channel(room);
        let queued = Queued { id, frame, waiter: Waiter::Stream(events) };
        self.queue.send(queued).await.map_err(|_| ClientError::Closed)?;
        Ok((id, received))
    }

    /// Sends a grant or a cancel, which have no answer.
    pub(crate) fn control(&self, id: u64, asked: Asked) {
        let mut out = Vec::new();
        let request = Request { id, kind: Some(asked) };
        let framed = frame::put(&mut out, frame::FRAME_BYTES_MAX, |out| request.encode_raw(out));
        if framed.is_ok() {
            // Where the connection has ended, so has the stream.
            drop(self.control.send(out));
        }
    }

    /// Refuses a request with more elements than the server takes, which would end the connection.
    pub(crate) fn check_elements(&self, count: usize) -> Result<()> {
        let servers = self.shared.hello().limits.map_or(0, |limits| limits.elements_max);
        let servers = usize::try_from(servers).ok().filter(|limit| *limit > 0);
        let limit = servers.unwrap_or(ELEMENTS_MAX).min(ELEMENTS_MAX);
        if count <= limit {
            return Ok(());
        }
        let text = format!("a request with {count} elements; the limit is {limit}");
        let mut error = Error::new(ErrorCode::InvalidRequest, text);
        error.limit = Some(frame::to_u64(limit));
        Err(ServerError::from(error).into())
    }

    /// Waits for something, but not longer than a call may take.
    pub(crate) async fn within<T>(&self, it: impl Future<Output = T>) -> Result<T> {
        let deadline = Instant::now() + self.shared.options.timeout;
        timeout_at(deadline, it).await.map_err(|_| self.late(true, Repeat::Freely))
    }

    fn encode(&self, asked: Asked) -> Result<(u64, Bytes)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = Request { id, kind: Some(asked) };
        let mut out = Vec::with_capacity(request.encoded_len() + frame::HEAD_BYTES);
        let limit = self.shared.frame_bytes_max.load(Ordering::Relaxed);
        frame::put(&mut out, limit, |out| request.encode_raw(out))
            .map_err(|over| ClientError::TooLarge { bytes: over.bytes, limit: over.limit })?;
        Ok((id, out.into()))
    }
}
