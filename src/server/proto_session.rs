//! A connection that speaks the project's own protocol.
//!
//! Requests on keys and values that have come together are executed together. Scans and watches
//! are tasks of the connection, whose pages come through a channel of few places: they wait for
//! credit and for the client, and nobody waits for them.

mod hello;
mod streams;

use std::sync::Arc;
use std::time::Instant;

use super::execute::execute;
use super::link::{Awaited, Broken, Link, Turn};
use super::metrics::{CloseReason, Protocol};
use super::proto_steps::{ProtoReplies, ProtoStep};
use super::shared::Shared;
use super::step::Replies;
use crate::error::KvsError;
use crate::protocol::frame::{self, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    AuthResponse, Code, Error, Figure, PingResponse, StatsResponse, SyncResponse,
};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::{Action, Command, Refusal, Request};
use crate::protocol::resp::table;
use streams::Streams;

/// The most requests that are executed together; the client is told.
const REQUESTS_MAX: usize = 4096;

/// The names of what is counted, behind the commands of Redis.
pub(crate) const COMMAND_NAMES: [&str; 13] = [
    "kvs.get",
    "kvs.get_many",
    "kvs.set",
    "kvs.remove",
    "kvs.batch",
    "kvs.compare_and_swap",
    "kvs.increment",
    "kvs.append",
    "kvs.expire",
    "kvs.ping",
    "kvs.stats",
    "kvs.sync",
    "kvs.hello",
];

/// Serves a connection to its end.
pub(crate) async fn serve(link: &mut Link) -> Result<(), Broken> {
    let mut session = Session::new(Arc::clone(&link.shared));
    let high_water = link.shared.config.output_high_water_bytes;
    loop {
        let state = session.execute_input(link, high_water).await;
        let replies = &mut session.replies.0;
        match state {
            State::Hungry if link.unsent(replies) > high_water => {
                link.send(replies, high_water / 2).await?;
            }
            State::Hungry => {
                let awaited = match (session.is_known, link.input.is_empty()) {
                    (false, _) => Awaited::Login,
                    (true, true) => Awaited::Request,
                    (true, false) => Awaited::Rest,
                };
                tokio::select! {
                    turn = link.read(replies, awaited) => if turn? == Turn::Ended {
                        return link.send(replies, 0).await;
                    },
                    page = session.streams.next() => session.streams.put(page, replies),
                }
            }
            State::Full => link.send(replies, high_water / 2).await?,
            State::Broken => {
                link.shared.metrics.protocol_error(Protocol::Kvs);
                link.send(replies, 0).await?;
                return Err(Broken::Closed(CloseReason::Protocol));
            }
        }
    }
}

/// Where a session stands after it has executed what it could.
enum State {
    Hungry,
    /// More replies wait than should.
    Full,
    /// What came is not the protocol; the client was told.
    Broken,
}

/// What is known of a connection.
struct Session {
    shared: Arc<Shared>,
    replies: ProtoReplies,
    has_said_hello: bool,
    /// Whether the client has given the password, or need not.
    is_known: bool,
    /// The largest frame that the client takes.
    frame_bytes_max: usize,
    steps: Vec<ProtoStep>,
    streams: Streams,
    first_number: usize,
}

impl Session {
    fn new(shared: Arc<Shared>) -> Session {
        Session {
            is_known: shared.password.is_none(),
            streams: Streams::new(Arc::clone(&shared.engine)),
            shared,
            replies: ProtoReplies::default(),
            has_said_hello: false,
            frame_bytes_max: FRAME_BYTES_MAX,
            steps: Vec::new(),
            first_number: table::numbers().len(),
        }
    }

    /// Executes the requests that have come, as long as their replies are not too many.
    async fn execute_input(&mut self, link: &mut Link, high_water: usize) -> State {
        loop {
            if link.unsent(&self.replies.0) > high_water {
                return State::Full;
            }
            if self.steps.len() >= REQUESTS_MAX {
                self.execute_steps(high_water).await;
                continue;
            }
            let limit = match self.has_said_hello && self.is_known {
                true => self.shared.config.frame_bytes_max,
                false => FIRST_FRAME_BYTES_MAX,
            };
            let refusal = match frame::take(&mut link.input, limit) {
                Ok(None) if self.steps.is_empty() => return State::Hungry,
                Ok(None) => {
                    self.execute_steps(high_water).await;
                    continue;
                }
                Ok(Some(frame)) => match Request::decode(frame) {
                    Ok(request) => match self.take(request, high_water).await {
                        Ok(()) => continue,
                        Err(refusal) => refusal,
                    },
                    Err(refusal) => refusal,
                },
                Err(error) => Refusal::of_connection(Code::RequestTooLarge, error.to_string()),
            };
            self.execute_all(high_water).await;
            let is_of_connection = refusal.id == 0;
            reply::put_error(&mut self.replies.0, refusal.id, refusal.error);
            if is_of_connection {
                return State::Broken;
            }
        }
    }

    /// Takes a request: gathers it, or executes it.
    async fn take(&mut self, request: Request, high_water: usize) -> Result<(), Refusal> {
        let Request { id, command } = request;
        let refuse = |code, text: &str| Err(Refusal { id, error: Error::new(code, text) });
        match (&command, self.has_said_hello, self.is_known) {
            (Command::Hello(_), true, _) => {
                return refuse(Code::HelloExpected, "hello is the first request and no other");
            }
            (Command::Hello(_), false, _) | (Command::Auth { .. }, true, _) => {}
            (_, false, _) => {
                let text = "the first request is hello";
                return Err(Refusal::of_connection(Code::HelloExpected, text));
            }
            (_, true, false) => {
                return refuse(Code::AuthRequired, "the server wants a password first");
            }
            (_, true, true) => {}
        }
        let command = match command {
            Command::Keys(command) => {
                self.check_limits(&command.action)
                    .map_err(|error| Refusal { id, error: Error::of(&error, false) })?;
                let frame_bytes_max = self.frame_bytes_max;
                self.steps.push(ProtoStep { id, command, frame_bytes_max });
                return Ok(());
            }
            command => command,
        };
        self.execute_all(high_water).await;
        let begun = Instant::now();
        let number = match &command {
            Command::Ping { .. } => 9,
            Command::Stats => 10,
            Command::Sync => 11,
            _ => 12,
        };
        let kind = self.answer(id, command).await?;
        self.record(number, begun);
        if let Some(kind) = kind {
            reply::put(&mut self.replies.0, self.frame_bytes_max, id, kind);
        }
        Ok(())
    }

    /// Executes what is no step; none: what there is to say comes later, or nothing.
    async fn answer(&mut self, id: u64, command: Command) -> Result<Option<Kind>, Refusal> {
        let engine = Arc::clone(&self.shared.engine);
        let failed = |error: KvsError| Refusal { id, error: Error::of(&error, false) };
        Ok(Some(match command {
            Command::Hello(hello) => Kind::Hello(self.hello(id, &hello)?),
            Command::Auth { password } => {
                self.auth(id, &password)?;
                Kind::Auth(AuthResponse {})
            }
            Command::Ping { payload } => {
                Kind::Ping(PingResponse { payload, now_ms: engine.now_ms() })
            }
            Command::Stats => {
                let stats = engine.stats().await.map_err(failed)?;
                Kind::Stats(stats_response(stats))
            }
            Command::Sync => {
                engine.sync().await.map_err(failed)?;
                Kind::Sync(SyncResponse {})
            }
            Command::Scan(scan) => {
                self.streams.scan(id, scan, self.frame_bytes_max).await?;
                return Ok(None);
            }
            Command::Watch(watch) => {
                let limit = self.frame_bytes_max;
                let started = self.streams.watch(id, watch, limit).await?;
                Kind::WatchStarted(started)
            }
            Command::Grant { pages } => {
                self.streams.grant(id, pages);
                return Ok(None);
            }
            Command::Cancel => {
                self.streams.cancel(id, &mut self.replies.0);
                return Ok(None);
            }
            // It became a step before.
            Command::Keys(_) => return Ok(None),
        }))
    }

    async fn execute_all(&mut self, high_water: usize) {
        while !self.steps.is_empty() {
            self.execute_steps(high_water).await;
        }
    }

    async fn execute_steps(&mut self, high_water: usize) {
        let begun = Instant::now();
        let limit = self.replies.bytes().len().saturating_add(high_water);
        let engine = &*self.shared.engine;
        let done = execute(engine, &self.steps, &mut self.replies, limit).await;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for step in self.steps.drain(..done) {
            let number = number_of(&step.command.action);
            self.shared.metrics.record(self.first_number + number, nanos);
        }
    }

    fn record(&self, number: usize, begun: Instant) {
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.metrics.record(self.first_number + number, nanos);
    }

    /// Refuses keys and values that are longer than the server wants them.
    fn check_limits(&self, action: &Action) -> Result<(), KvsError> {
        let config = &self.shared.config;
        let (key_limit, value_limit) = (config.key_bytes_max, config.value_bytes_max);
        let check = |key: &[u8], value: &[u8]| {
            if key.len() > key_limit {
                return Err(KvsError::KeyTooLarge { bytes: key.len(), limit: key_limit });
            }
            if value.len() > value_limit {
                return Err(KvsError::ValueTooLarge { bytes: value.len(), limit: value_limit });
            }
            Ok(())
        };
        match action {
            Action::Set { key, value, .. } | Action::Append { key, value } => check(key, value),
            Action::CompareAndSwap(swap) => {
                check(&swap.key, swap.value.as_deref().unwrap_or_default())
            }
            Action::Batch { operations, .. } => operations.iter().try_for_each(|it| {
                use crate::protocol::proto::request::Operation;
                match it {
                    Operation::Set { key, value, .. } => check(key, value),
                    Operation::Remove { key } => check(key, &[]),
                }
            }),
            Action::Get { key, .. }
            | Action::Remove { key, .. }
            | Action::Increment { key, .. }
            | Action::Expire { key, .. } => check(key, &[]),
            Action::GetMany { keys, .. } => keys.iter().try_for_each(|key| check(key, &[])),
        }
    }
}

/// The place of a command in `COMMAND_NAMES`.
fn number_of(action: &Action) -> usize {
    match action {
        Action::Get { .. } => 0,
        Action::GetMany { .. } => 1,
        Action::Set { .. } => 2,
        Action::Remove { .. } => 3,
        Action::Batch { .. } => 4,
        Action::CompareAndSwap(_) => 5,
        Action::Increment { .. } => 6,
        Action::Append { .. } => 7,
        Action::Expire { .. } => 8,
    }
}

fn stats_response(stats: crate::engine::EngineStats) -> StatsResponse {
    StatsResponse {
        keys: stats.keys,
        expiring_keys: stats.expiring_keys,
        disk_bytes: stats.disk_bytes,
        index_bytes: stats.index_bytes,
        figures: stats
            .figures
            .iter()
            .map(|figure| Figure {
                name: figure.name.to_owned(),
                help: figure.help.to_owned(),
                is_counter: figure.is_counter,
                value: figure.value,
            })
            .collect(),
    }
}
