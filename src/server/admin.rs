//! The HTTP server for those who watch this one: `/metrics`, `/healthz`, `/readyz`, and no more.
//!
//! A connection has one short request, a few seconds, and one answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::metrics::{CONTENT_TYPE, Metrics};
use super::shutdown::Shutdown;
use crate::engine::{EngineStats, KvsEngine};

/// The most bytes of a request.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most header fields of a request.
const FIELDS_MAX: usize = 64;
/// Connections at a time; more have to wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection takes at most.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait when the operating system gives no connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The figure of an engine that is not 0 when it takes no more writes until it is opened again.
pub(crate) const POISONED: &str = "poisoned";

/// What there is to watch.
pub(crate) struct Watched {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    /// Set when the server takes connections.
    pub(crate) engine: OnceLock<Arc<dyn KvsEngine>>,
}

/// Answers those who watch, as long as it is polled.
pub(crate) async fn run(listener: TcpListener, watched: Arc<Watched>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // It is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let watched = Arc::clone(&watched);
                tokio::spawn(async move {
                    // What becomes of the connection is the client's concern.
                    let _ = timeout(TIMEOUT, serve(stream, &watched)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                debug!("cannot accept a connection of the metrics server: {error}");
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Reads a request and answers it.
async fn serve<S>(mut stream: S, watched: &Watched) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = read_head(&mut stream).await?;
    let (response, with_body) = match parse(&head) {
        Ok(request) => (watched.answer(&request).await, !request.is_head),
        Err(response) => (response, true),
    };
    stream.write_all(&response.encode(with_body)).await?;
    stream.shutdown().await?;
    // What is still coming must not make the system take the answer back.
    let mut rest = stream.take(1 << 20);
    tokio::io::copy(&mut rest, &mut sink()).await.map(drop)
}

/// Reads up to the empty line, or to the limit, or as much as comes.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    let mut seen = 0;
    while head.len() <= HEAD_BYTES_MAX {
        let tail = head.get(seen..).unwrap_or_default();
        let is_end = tail.windows(2).any(|it| it == b"\n\n");
        if is_end || tail.windows(3).any(|it| it == b"\n\r\n") {
            break;
        }
        seen = head.len().saturating_sub(2);
        if (&mut *stream).take(1024).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    path: String,
    is_head: bool,
}

/// Understands a request, or says why not.
fn parse(head: &[u8]) -> Result<Request, Response> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let too_long = Response::text("431 Request Header Fields Too Large", "it is too long\n");
    match request.parse(head) {
        _ if head.len() > HEAD_BYTES_MAX => return Err(too_long),
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return Err(Response::text("400 Bad Request", "the request is not whole\n"));
        }
        Err(httparse::Error::TooManyHeaders) => return Err(too_long),
        Err(_) => return Err(Response::text("400 Bad Request", "this is not HTTP\n")),
    }
    let is_head = request.method == Some("HEAD");
    if !is_head && request.method != Some("GET") {
        return Err(Response::text("405 Method Not Allowed", "only GET and HEAD\n"));
    }
    let path = request.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { path, is_head })
}

impl Watched {
    async fn answer(&self, request: &Request) -> Response {
        match request.path.as_str() {
            "/metrics" => {
                let (name, stats) = match self.engine.get() {
                    Some(engine) => (engine.name(), engine.stats().await.ok()),
                    None => ("", None),
                };
                let body = self.metrics.to_text(name, stats.as_ref());
                Response { status: "200 OK", content_type: CONTENT_TYPE, body }
            }
            "/healthz" => Response::text("200 OK", "alive\n"),
            "/readyz" => match self.is_ready().await {
                Ok(()) => Response::text("200 OK", "ready\n"),
                Err(reason) => Response::text("503 Service Unavailable", reason),
            },
            _ => Response::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }

    /// Whether clients should come here; or why not.
    async fn is_ready(&self) -> Result<(), &'static str> {
        if self.shutdown.is_draining() {
            return Err("shutting down\n");
        }
        let engine = self.engine.get().ok_or("starting\n")?;
        let stats = engine.stats().await.map_err(|_| "the engine does not answer\n")?;
        match is_poisoned(&stats) {
            true => Err("the engine takes no more writes\n"),
            false => Ok(()),
        }
    }
}

fn is_poisoned(stats: &EngineStats) -> bool {
    stats.figures.iter().any(|figure| figure.name == POISONED && figure.value != 0.0)
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Response {
    fn text(status: &'static str, body: &'static str) -> Response {
        Response { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
    }

    fn encode(&self, with_body: bool) -> Vec<u8> {
        let Response { status, content_type, body } = self;
        let mut text = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n");
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        if status.starts_with("405") {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        text.push_str("Cache-Control: no-store\r\nConnection: close\r\n\r\n");
        if with_body {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests;
