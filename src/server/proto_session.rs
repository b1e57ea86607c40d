//! A connection that speaks the project's own protocol: requests in, responses out.
//!
//! All complete frames of a read are decoded. Requests on keys and values that come one behind the
//! other are executed together, before anything else is. Where more responses wait than should,
//! nothing further is executed until they have left. Scans and watches are tasks of the connection:
//! they wait for the engine and for credit, and nothing waits for them.

mod answer;
mod commands;
mod hello;
mod limits;
mod pages;
mod streams;

use std::sync::Arc;
use std::time::Instant;

use super::bounds::Bounds;
use super::execute::execute;
use super::link::{Awaited, Broken, Link, Turn};
use super::metrics::{CloseReason, Protocol};
use super::peer::Peer;
use super::proto_steps::{ProtoReplies, ProtoStep};
use super::shared::Shared;
use crate::protocol::frame::{self, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use crate::protocol::proto::messages::{Code, Error};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::{Command, Refusal, Request};
use streams::Streams;

pub(crate) use commands::COMMAND_NAMES;

/// The most requests that are gathered. The client is told so.
const REQUESTS_MAX: usize = 4096;

/// Serves a connection to its end.
pub(crate) async fn serve(link: &mut Link) -> Result<(), Broken> {
    let mut session = Session::new(Arc::clone(&link.shared), Arc::clone(&link.peer));
    let high_water = link.shared.config.output_high_water_bytes;
    loop {
        match session.execute_input(link, high_water).await {
            State::Hungry => {
                let awaited = match (session.is_known, link.input.is_empty()) {
                    (false, _) => Awaited::Login,
                    (true, true) => Awaited::Request,
                    (true, false) => Awaited::Rest,
                };
                let replies = &mut session.replies.0;
                tokio::select! {
                    turn = link.read(replies, awaited) => if turn? == Turn::Ended {
                        return link.send(replies, 0).await;
                    },
                    page = session.streams.next() => {
                        session.streams.put(page, &mut session.replies.0);
                    }
                }
            }
            State::Full => link.send(&mut session.replies.0, high_water / 2).await?,
            State::Broken => {
                link.shared.metrics.protocol_error(Protocol::Kvs);
                link.send(&mut session.replies.0, 0).await?;
                return Err(Broken::Closed(CloseReason::Protocol));
            }
        }
    }
}

/// Where a session stands after it has executed what it could.
enum State {
    /// It needs more input, or a page.
    Hungry,
    /// More responses wait than should.
    Full,
    /// What came is not the protocol, and the client is told.
    Broken,
}

/// What is known of a connection.
struct Session {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    replies: ProtoReplies,
    has_said_hello: bool,
    /// Whether the client has given the password, or need not.
    is_known: bool,
    /// The largest frame that the client takes.
    frame_bytes_max: usize,
    /// What was taken and is not executed yet.
    steps: Vec<ProtoStep>,
    /// What was taken behind them and is no step.
    held: Option<Result<Request, Refusal>>,
    streams: Streams,
}

impl Session {
    fn new(shared: Arc<Shared>, peer: Arc<Peer>) -> Session {
        Session {
            is_known: shared.password.is_none(),
            streams: Streams::new(Arc::clone(&shared)),
            shared,
            peer,
            replies: ProtoReplies::default(),
            has_said_hello: false,
            frame_bytes_max: FRAME_BYTES_MAX,
            steps: Vec::new(),
            held: None,
        }
    }

    /// Executes the requests that have come, as long as their responses are not too many.
    async fn execute_input(&mut self, link: &mut Link, high_water: usize) -> State {
        loop {
            let unsent = link.unsent(&self.replies.0);
            if unsent > high_water {
                return State::Full;
            }
            if !self.steps.is_empty() && (self.held.is_some() || self.steps.len() >= REQUESTS_MAX) {
                self.execute_steps(high_water - unsent).await;
                continue;
            }
            let refusal = match self.held.take() {
                Some(Ok(request)) => match self.answer(request).await {
                    Ok(()) => continue,
                    Err(refusal) => refusal,
                },
                Some(Err(refusal)) => refusal,
                None => match frame::take(&mut link.input, self.request_bytes_max()) {
                    Ok(None) if self.steps.is_empty() => return State::Hungry,
                    Ok(None) => {
                        self.execute_steps(high_water - unsent).await;
                        continue;
                    }
                    Ok(Some(frame)) => {
                        link.taken();
                        self.take(Request::decode(frame));
                        continue;
                    }
                    Err(over) => {
                        let mut error = Error::new(Code::RequestTooLarge, over.to_string());
                        error.limit = Some(over.limit);
                        self.held = Some(Err(Refusal { id: 0, error }));
                        continue;
                    }
                },
            };
            let is_of_connection = refusal.id == 0;
            reply::put_error(&mut self.replies.0, refusal.id, refusal.error);
            if is_of_connection {
                return State::Broken;
            }
        }
    }

    /// The largest frame that may come now.
    fn request_bytes_max(&self) -> usize {
        match self.has_said_hello && self.is_known {
            true => self.shared.config.frame_bytes_max,
            false => FIRST_FRAME_BYTES_MAX,
        }
    }

    /// Takes a request: behind the steps, if it is one.
    fn take(&mut self, decoded: Result<Request, Refusal>) {
        self.held = match decoded.and_then(|request| self.admit(request)) {
            Ok(Request { id, command: Command::Keys(command) }) => {
                let config = &self.shared.config;
                let value_bytes_max = config.value_bytes_max;
                let frame_bytes_max =
                    self.frame_bytes_max.min(config.output_bytes_per_connection_max);
                self.steps.push(ProtoStep { id, command, frame_bytes_max, value_bytes_max });
                None
            }
            held => Some(held),
        };
    }

    /// Refuses what may not be asked for now, and what is too large.
    fn admit(&self, request: Request) -> Result<Request, Refusal> {
        let refuse = |code, text: &str| Refusal { id: request.id, error: Error::new(code, text) };
        match (&request.command, self.has_said_hello, self.is_known) {
            (Command::Hello(_), true, _) => {
                Err(refuse(Code::HelloExpected, "hello is the first request and no other"))
            }
            (Command::Hello(_), false, _) | (Command::Auth { .. }, true, _) => Ok(request),
            (_, false, _) => {
                let error = Error::new(Code::HelloExpected, "the first request is not hello");
                Err(Refusal { id: 0, error })
            }
            (_, true, false) => Err(refuse(Code::AuthRequired, "the server wants a password")),
            (Command::Keys(command), true, true) => {
                match limits::check(&command.action, &self.shared.config) {
                    Ok(()) => Ok(request),
                    Err(error) => {
                        let number = commands::number(&request.command);
                        self.shared.metrics.record(number, 0);
                        self.shared.metrics.record_error(number);
                        Err(Refusal { id: request.id, error: Error::of(&error, false) })
                    }
                }
            }
            (_, true, true) => Ok(request),
        }
    }

    /// Executes steps, until all are done or there are more than so many bytes of responses more.
    async fn execute_steps(&mut self, reply_bytes_max: usize) {
        let begun = Instant::now();
        let limit = self.replies.0.len().saturating_add(reply_bytes_max);
        let bounds = Bounds::new(&self.shared.config, limit).with_turns(&self.shared.turns);
        let engine = Arc::clone(&self.shared.engine);
        let done = execute(&*engine, &self.steps, &mut self.replies, bounds).await;
        let nanos = nanos_since(begun);
        for step in self.steps.iter().take(done) {
            self.shared.metrics.record(commands::number_of_action(&step.command.action), nanos);
        }
        if let Some(step) = self.steps.first() {
            self.note(nanos, done, || commands::described(step));
        }
        if let Some(step) = self.steps.get(done.saturating_sub(1)) {
            self.peer.about().last_command = commands::name_of_action(&step.command.action);
        }
        self.steps.drain(..done.min(self.steps.len()));
    }

    /// Notes what was slow, in one line for all that was executed together: nobody knows which of
    /// them it was.
    fn note(&self, nanos: u64, count: usize, described: impl FnOnce() -> Vec<Vec<u8>>) {
        let micros = nanos / 1000;
        if !self.shared.slow_log.is_slow(micros) {
            return;
        }
        self.shared.metrics.slow_command();
        let mut arguments = described();
        if count > 1 {
            arguments.push(format!("(and {} more)", count - 1).into_bytes());
        }
        let name = self.peer.about().name.clone();
        let arguments = arguments.iter().map(Vec::as_slice);
        self.shared.slow_log.note(micros, arguments, self.peer.addr, &name);
    }
}

fn nanos_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
