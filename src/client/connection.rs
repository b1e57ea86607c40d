//! The connection of a client: one task that writes what is queued and reads what comes, and
//! connects again when somebody asks for something.
//!
//! Requests of many callers that are queued at the same time are written with one call. A request
//! that is still in the queue when a connection breaks goes out with the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::error::ClientError;
use super::handshake::{self, Greeted};
use super::options::ClientOptions;
use super::pending::{Pending, Queued};
use super::transport::Transport;
use crate::protocol::frame;
use crate::protocol::proto::elements;
use crate::protocol::proto::messages::{HelloResponse, Response};

/// How much is put together to be written at once, and read at once, in bytes.
const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 64 << 10;
/// Frames from here on are written from where they are.
const LARGE_BYTES: usize = 64 << 10;

/// What the connection and the callers both know.
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) options: ClientOptions,
    hello: Mutex<Arc<HelloResponse>>,
    /// The largest frame that the server takes, in bytes.
    pub(crate) frame_bytes_max: AtomicUsize,
    /// Why there is no connection, if there is none and it was tried.
    unreachable: Mutex<Option<ClientError>>,
}

impl Shared {
    pub(crate) fn new(transport: Transport, options: ClientOptions, greeted: &Greeted) -> Shared {
        let shared = Shared {
            transport,
            options,
            hello: Mutex::default(),
            frame_bytes_max: AtomicUsize::new(0),
            unreachable: Mutex::default(),
        };
        shared.greeted(&greeted.hello);
        shared
    }

    /// What the server said of itself when it was last connected to.
    pub(crate) fn hello(&self) -> Arc<HelloResponse> {
        Arc::clone(&self.hello.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the server cannot be reached, if that is so.
    pub(crate) fn unreachable(&self) -> Option<ClientError> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_unreachable(&self, error: Option<ClientError>) {
        *self.unreachable.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn greeted(&self, hello: &HelloResponse) {
        let limit = hello.limits.map_or(0, |limits| limits.frame_bytes_max);
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.unwrap_or(frame::FRAME_BYTES_MAX).min(frame::FRAME_BYTES_LIMIT);
        self.frame_bytes_max.store(limit, Ordering::Relaxed);
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(hello.clone());
        self.set_unreachable(None);
    }

    /// How many requests may be without an answer.
    fn in_flight_max(&self) -> usize {
        let servers = self.hello().limits.map_or(0, |limits| limits.requests_in_flight_max);
        let servers = usize::try_from(servers).ok().filter(|limit| *limit > 0);
        servers.unwrap_or(usize::MAX).min(self.options.in_flight_max)
    }
}

/// What the task owns.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: mpsc::Receiver<Queued>,
    /// Grants and cancels of streams: at most as many as those have pages in flight.
    pub(crate) control: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Taken off the queue, and not sent yet.
    held: Option<Queued>,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Queued>,
        control: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> Connection {
        Connection { shared, queue, control, held: None }
    }

    /// Serves until the last handle of the client is gone.
    pub(crate) async fn run(mut self, first: Greeted) {
        let mut greeted = Some(first);
        while let Some(current) = greeted {
            let pending = Pending::default();
            let Some(reason) = self.serve(current, &pending).await else {
                return;
            };
            // Those of the streams that were on it.
            while self.control.try_recv().is_ok() {}
            pending.lose(&self.shared.transport.addr, &reason);
            greeted = self.connect().await;
        }
    }

    /// Connects as soon as there is something to send. None: the last handle is gone.
    async fn connect(&mut self) -> Option<Greeted> {
        let options = &self.shared.options;
        let mut backoff = Backoff::new(options.delay, options.delay_max);
        loop {
            while self.held.as_ref().is_none_or(|queued| queued.waiter.is_gone()) {
                self.held = Some(self.queue.recv().await?);
            }
            match handshake::connect(&self.shared.transport, options).await {
                Ok(greeted) => {
                    self.shared.greeted(&greeted.hello);
                    return Some(greeted);
                }
                Err(error) if is_temporary(&error) => self.shared.set_unreachable(Some(error)),
                Err(error) => {
                    // It would be the same again, so nobody has to wait for that.
                    let queued = std::iter::from_fn(|| self.queue.try_recv().ok());
                    for queued in self.held.take().into_iter().chain(queued) {
                        queued.waiter.fail(error.clone());
                    }
                }
            }
            backoff.wait(Instant::now() + options.delay_max).await;
        }
    }

    /// Writes and reads until the connection breaks, and says how. None: the last handle is gone.
    async fn serve(&mut self, greeted: Greeted, pending: &Pending) -> Option<String> {
        let shared = Arc::clone(&self.shared);
        let (reader, writer) = split(greeted.socket);
        tokio::select! {
            reason = read(reader, greeted.read, pending, &shared.options) => Some(reason),
            ended = self.write(writer, pending, shared.in_flight_max()) => ended,
        }
    }

    async fn write(
        &mut self,
        mut writer: impl AsyncWrite + Unpin,
        pending: &Pending,
        in_flight_max: usize,
    ) -> Option<String> {
        let mut out = Vec::new();
        loop {
            let (queue, held) = (&mut self.queue, &mut self.held);
            let next = async {
                let room = pending.room(in_flight_max).await;
                if held.is_none() {
                    *held = Some(queue.recv().await?);
                }
                Some(room)
            };
            let room = tokio::select! {
                biased;
                control = self.control.recv() => {
                    // While there are handles, there are senders of these too.
                    out.extend_from_slice(&control?);
                    0
                }
                room = next => room?,
            };
            let large = self.fill(&mut out, room, pending);
            let written = async {
                writer.write_all(&out).await?;
                if let Some(large) = large {
                    writer.write_all(&large.frame).await?;
                }
                writer.flush().await
            };
            if let Err(error) = written.await {
                return Some(error.to_string());
            }
            out.clear();
            out.shrink_to(2 * WRITE_BYTES);
        }
    }

    /// Puts the frames of what is queued behind each other, up to one that is large: that is
    /// given back, to be written behind them.
    fn fill(&mut self, out: &mut Vec<u8>, room: usize, pending: &Pending) -> Option<Large> {
        let mut room = room;
        while room > 0 && out.len() < WRITE_BYTES {
            let queued = self.held.take().or_else(|| self.queue.try_recv().ok())?;
            if !queued.waiter.send() {
                continue;
            }
            // From here on it counts as sent.
            pending.insert(queued.id, queued.waiter);
            room -= 1;
            if queued.frame.len() >= LARGE_BYTES {
                return Some(Large { frame: queued.frame });
            }
            out.extend_from_slice(&queued.frame);
        }
        None
    }
}

/// A frame that is written from where it is.
struct Large {
    frame: bytes::Bytes,
}

/// Whether connecting may go better next time.
fn is_temporary(error: &ClientError) -> bool {
    use crate::client::ErrorCode;
    let code = error.code();
    matches!(error, ClientError::Connect { .. } | ClientError::NotKvs { .. })
        || matches!(code, ErrorCode::TooManyConnections | ErrorCode::Busy | ErrorCode::ShuttingDown)
}

/// Hands out what comes until there is no more sense in that, and says why.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut buffer: BytesMut,
    pending: &Pending,
    options: &ClientOptions,
) -> String {
    // Longer than any caller waits: what is that late does not come.
    let overdue = options.timeout.saturating_mul(2);
    loop {
        loop {
            match frame::take(&mut buffer, options.frame_bytes_max) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    // Before it is decoded: a small element becomes a large one in memory.
                    let answered = elements::check_response(&frame).and_then(|()| {
                        let response = Response::decode(frame).map_err(|error| error.to_string());
                        pending.answer(response?)
                    });
                    if let Err(reason) = answered {
                        return reason;
                    }
                }
                Err(error) => return error.to_string(),
            }
        }
        buffer.reserve(READ_BYTES);
        match timeout(overdue, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return "the server closed it".to_owned(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) if pending.is_overdue(overdue) => {
                return format!("the server did not answer for {} ms", overdue.as_millis());
            }
            Err(_) => {}
        }
    }
}
