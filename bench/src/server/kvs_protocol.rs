//! A load in the project's own protocol, in the pattern of `redis-benchmark`: one thread, and each
//! connection sends so many requests at once, and the next when all have been answered.
//!
//! The requests of a connection are encoded once; each time only the digits of their keys change,
//! so that the generator takes little of the machine from the server. Responses are decoded and
//! checked.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use kvs::protocol::frame;
use kvs::protocol::proto::messages::{
    GetRequest, HelloRequest, Request, Response, SetRequest, request, response,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::redis_benchmark::{Ask, Load, Measured};
use super::resp::key;
use super::{CONNECTIONS, VALUE_BYTES};
use crate::data::Rng;
use crate::engine::Res;
use crate::histogram::Histogram;

/// No frame here is longer.
const FRAME_BYTES_MAX: usize = 16 << 10;
const READ_BYTES: usize = 32 << 10;

pub fn run(addr: SocketAddr, load: &Load) -> Res<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(measure(addr, *load))
}

async fn measure(addr: SocketAddr, load: Load) -> Res<Measured> {
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        connections.push(Connection::open(addr, load, number as u64).await?);
    }
    let begun_requests = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(connection.ask_all(Arc::clone(&begun_requests)));
    }
    let mut times = Histogram::new();
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        let (own, own_done) = ended??;
        times.merge(&own);
        done += own_done;
    }
    Ok(Measured {
        rate: done as f64 / begun.elapsed().as_secs_f64(),
        p50_us: times.quantile_us(0.5),
        p99_us: times.quantile_us(0.99),
        max_us: times.quantile_us(1.0),
    })
}

struct Connection {
    socket: TcpStream,
    read: BytesMut,
    load: Load,
    /// The requests as frames, one behind the other.
    requests: Vec<u8>,
    /// Where in them the digits of their keys are.
    digits: Vec<Range<usize>>,
    rng: Rng,
}

impl Connection {
    async fn open(addr: SocketAddr, load: Load, number: u64) -> Res<Connection> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        let (requests, digits) = requests(&load)?;
        let (read, rng) = (BytesMut::with_capacity(READ_BYTES), Rng::new(number));
        let mut connection = Connection { socket, read, load, requests, digits, rng };
        let hello = HelloRequest { version_min: 1, version_max: 1, ..HelloRequest::default() };
        let mut out = Vec::new();
        put(&mut out, 1, request::Kind::Hello(hello))?;
        connection.socket.write_all(&out).await?;
        match connection.response().await?.kind {
            Some(response::Kind::Hello(_)) => Ok(connection),
            other => Err(format!("the hello is answered with {other:?}").into()),
        }
    }

    /// Asks until all connections together have asked enough: the times, and how many those were.
    async fn ask_all(mut self, begun_requests: Arc<AtomicU64>) -> Res<(Histogram, u64)> {
        let (depth, mut times, mut done) = (self.load.depth as u64, Histogram::new(), 0);
        while begun_requests.fetch_add(depth, Ordering::Relaxed) < self.load.requests {
            self.draw_keys();
            let begun = Instant::now();
            self.socket.write_all(&self.requests).await?;
            for id in 1..=depth {
                let response = self.response().await?;
                self.check(id, &response)?;
            }
            times.add_times(begun.elapsed().as_nanos() as u64, depth);
            done += depth;
        }
        Ok((times, done))
    }

    /// Gives each request another key.
    fn draw_keys(&mut self) {
        for digits in &self.digits {
            let mut number = self.rng.below(self.load.keys);
            for digit in self.requests[digits.clone()].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }

    async fn response(&mut self) -> Res<Response> {
        loop {
            if let Some(message) = frame::take(&mut self.read, FRAME_BYTES_MAX)? {
                return Ok(Response::decode(message)?);
            }
            self.read.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Err("the server has closed a connection".into());
            }
        }
    }

    fn check(&self, id: u64, response: &Response) -> Res<()> {
        let is_expected = match (&response.kind, self.load.ask) {
            (Some(response::Kind::Get(get)), Ask::Get) => {
                get.found.as_ref().is_some_and(|found| found.value.len() == VALUE_BYTES)
            }
            (Some(response::Kind::Write(_)), Ask::Set) => true,
            _ => false,
        };
        match is_expected && response.id == id {
            true => Ok(()),
            false => Err(format!("request {id} is answered with {response:?}").into()),
        }
    }
}

/// The requests of a connection, and where in them the digits of their keys are.
fn requests(load: &Load) -> Res<(Vec<u8>, Vec<Range<usize>>)> {
    let (mut requests, mut digits) = (Vec::new(), Vec::new());
    let any_key = key(0);
    for id in 1..=load.depth as u64 {
        let key = any_key.clone().into();
        let kind = match load.ask {
            Ask::Get => request::Kind::Get(GetRequest { key, without_value: false }),
            Ask::Set => {
                let value = vec![b'x'; VALUE_BYTES].into();
                request::Kind::Set(SetRequest { key, value, ..SetRequest::default() })
            }
        };
        let start = requests.len();
        put(&mut requests, id, kind)?;
        let frame = &requests[start..];
        let place = frame.windows(any_key.len()).position(|part| part == any_key.as_bytes());
        let end = start + place.ok_or("a request without its key")? + any_key.len();
        digits.push(end - DIGITS..end);
    }
    Ok((requests, digits))
}

/// How many digits end a key.
const DIGITS: usize = 12;

fn put(out: &mut Vec<u8>, id: u64, kind: request::Kind) -> Res<()> {
    let request = Request { id, kind: Some(kind) };
    Ok(frame::put(out, FRAME_BYTES_MAX, |out| request.encode_raw(out))?)
}
