//! A connection that speaks the Redis protocol: requests in, replies out, in their order.
//!
//! All complete requests of a read are taken; those on keys and values are gathered and executed
//! together, before anything else is. Replies leave with one write.

mod answer;
mod clients;
mod failed;
mod info;
mod keyspace;
mod login;
mod parameters;
mod transaction;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::bounds::Bounds;
use super::config::Config;
use super::execute::execute;
use super::failure_log;
use super::link::{Awaited, Broken, Link, Turn};
use super::metrics::{CloseReason, Protocol};
use super::peer::Peer;
use super::shared::Shared;
use super::step::{Replies, Step};
use super::steps::reply_error;
use crate::protocol::resp::command::ReplyMode;
use crate::protocol::resp::table::{self, Flag, Spec};
use crate::protocol::resp::{
    Command, Parser, ProtocolError, ReplyError, RequestLimits, RespReplies, RespVersion, StringStep,
};
use transaction::{Transaction, Watches};

/// Serves a connection to its end.
pub(crate) async fn serve(link: &mut Link) -> Result<(), Broken> {
    let mut session = Session::new(Arc::clone(&link.shared), Arc::clone(&link.peer));
    let high_water = link.shared.config.output_high_water_bytes;
    loop {
        let state = session.execute_input(link, high_water).await;
        let replies = session.replies.bytes();
        match state {
            State::Hungry => {
                let awaited = match (session.is_known, session.parser.is_inside(&link.input)) {
                    (false, _) => Awaited::Login,
                    (true, false) => Awaited::Request,
                    (true, true) => Awaited::Rest,
                };
                if link.read(replies, awaited).await? == Turn::Ended {
                    return link.send(replies, 0).await;
                }
            }
            State::Full => link.send(replies, high_water / 2).await?,
            State::Done => return link.send(replies, 0).await,
            State::Broken(is_told) => {
                link.shared.metrics.protocol_error(Protocol::Resp);
                if is_told {
                    link.send(replies, 0).await?;
                }
                return Err(Broken::Closed(CloseReason::Protocol));
            }
        }
    }
}

/// Where a session stands after it has executed what it could.
enum State {
    /// It needs more input.
    Hungry,
    /// More replies wait than should.
    Full,
    /// The client has asked for the end.
    Done,
    /// What came is not the protocol. Whether the client is told so.
    Broken(bool),
}

/// Whether a connection goes on after a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    GoOn,
    Quit,
}

/// What waits until the steps before it are executed.
enum Held {
    /// A command that is no step, or what is wrong with it; and the number of its name.
    Command(&'static Spec, Option<usize>, Result<Command, ReplyError>),
    /// A request that something stands in the way of.
    Request(Vec<Bytes>),
    /// Bytes that are no request.
    Broken(ProtocolError),
}

/// What is known of a connection.
struct Session {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    parser: Parser,
    limits: RequestLimits,
    replies: RespReplies,
    /// Whether the client has logged in, or need not.
    is_known: bool,
    /// Steps that were taken and not executed yet, and the numbers of their commands.
    steps: Vec<StringStep>,
    commands: Vec<usize>,
    held: Option<Held>,
    transaction: Option<Transaction>,
    watches: Watches,
    is_muted: bool,
    /// Whether the reply to the next request is not sent, and whether that to this one is not.
    skips_next: bool,
    skips_this: bool,
}

impl Session {
    fn new(shared: Arc<Shared>, peer: Arc<Peer>) -> Session {
        let is_known = shared.password.is_none();
        peer.about().resp_version = RespVersion::Two.number();
        Session {
            limits: limits(&shared.config, is_known),
            shared,
            peer,
            parser: Parser::new(),
            replies: RespReplies::new(RespVersion::Two),
            is_known,
            steps: Vec::new(),
            commands: Vec::new(),
            held: None,
            transaction: None,
            watches: Watches::default(),
            is_muted: false,
            skips_next: false,
            skips_this: false,
        }
    }

    /// Whether the client is known from here on, and what it may send.
    fn set_known(&mut self, is_known: bool) {
        self.is_known = is_known;
        self.limits = limits(&self.shared.config, is_known);
    }

    /// Executes the requests that have come, as long as their replies are not too many.
    async fn execute_input(&mut self, link: &mut Link, high_water: usize) -> State {
        loop {
            let unsent = link.unsent(self.replies.bytes());
            if unsent > high_water {
                return State::Full;
            }
            if !self.steps.is_empty() && (self.held.is_some() || self.steps.len() >= STEPS_MAX) {
                self.execute_steps(high_water - unsent).await;
                continue;
            }
            let flow = match self.held.take() {
                Some(Held::Command(spec, number, parsed)) => {
                    self.do_alone(spec, number, parsed).await
                }
                Some(Held::Request(request)) => self.take_otherwise(request).await,
                Some(Held::Broken(error)) => return self.give_up(error),
                None => match self.parser.next(&mut link.input, &self.limits) {
                    Ok(Some(request)) => {
                        link.taken();
                        self.held = self.take(request);
                        continue;
                    }
                    Ok(None) if self.steps.is_empty() => return State::Hungry,
                    Ok(None) => {
                        self.execute_steps(high_water - unsent).await;
                        continue;
                    }
                    Err(error) => {
                        self.held = Some(Held::Broken(error));
                        continue;
                    }
                },
            };
            if flow == Flow::Quit {
                return State::Done;
            }
        }
    }

    fn give_up(&mut self, error: ProtocolError) -> State {
        tracing::debug!(client = %self.peer.addr, "protocol error: {error}");
        let Some(text) = error.text() else {
            return State::Broken(false);
        };
        self.replies.error_text(&text);
        State::Broken(true)
    }

    /// Takes a request: behind the steps, if it is one and nothing stands in the way. What is to
    /// wait for those steps is the answer.
    fn take(&mut self, request: Vec<Bytes>) -> Option<Held> {
        let is_usual =
            self.is_known && self.transaction.is_none() && !self.is_muted && !self.skips_next;
        let spec = match table::resolve(&request) {
            Ok(spec) if is_usual => spec,
            _ => return Some(Held::Request(request)),
        };
        let number = request.first().and_then(|name| table::number(name));
        match spec.parse(request) {
            Ok(Command::Step(step)) => {
                self.steps.push(step);
                self.commands.push(number.unwrap_or_default());
                None
            }
            parsed => Some(Held::Command(spec, number, parsed)),
        }
    }

    /// Executes a request where something stands in the way: it is refused, queued or muted.
    async fn take_otherwise(&mut self, request: Vec<Bytes>) -> Flow {
        let before = self.replies.bytes().len();
        let was_muted = self.is_muted;
        self.skips_this = std::mem::take(&mut self.skips_next);
        let number = request.first().and_then(|name| table::number(name));
        let mut flow = Flow::GoOn;
        match table::resolve(&request) {
            Err(error) => {
                self.refuse(number, &error);
                if let Some(transaction) = &mut self.transaction {
                    transaction.is_broken = true;
                }
            }
            Ok(spec) if !self.is_known && !spec.has(Flag::NoAuth) => {
                self.refuse(number, &ReplyError::NOT_LOGGED_IN);
            }
            Ok(spec) if self.transaction.is_some() && transaction::is_queued(spec) => {
                self.queue(spec, request);
            }
            Ok(spec) => match spec.parse(request) {
                Ok(Command::Step(step)) => {
                    self.steps.push(step);
                    self.commands.push(number.unwrap_or_default());
                    self.execute_steps(0).await;
                }
                parsed => flow = self.do_alone(spec, number, parsed).await,
            },
        }
        // The client does not want it.
        if std::mem::take(&mut self.skips_this) || self.is_muted && was_muted {
            self.replies.bytes().truncate(before);
        }
        flow
    }

    fn set_reply_mode(&mut self, mode: ReplyMode) {
        match mode {
            ReplyMode::On => {
                // This is answered in any case.
                (self.is_muted, self.skips_this) = (false, false);
                self.replies.ok();
            }
            ReplyMode::Off => self.is_muted = true,
            // This one says nothing in any case.
            ReplyMode::Skip if !self.is_muted => self.skips_next = true,
            ReplyMode::Skip => {}
        }
    }

    /// Executes a command that is no step.
    async fn do_alone(
        &mut self,
        spec: &'static Spec,
        number: Option<usize>,
        parsed: Result<Command, ReplyError>,
    ) -> Flow {
        let command = match parsed {
            Ok(command) => command,
            Err(error) => {
                self.refuse(number, &error);
                return Flow::GoOn;
            }
        };
        let begun = Instant::now();
        self.peer.about().last_command = spec.name();
        let before = self.replies.bytes().len();
        let flow = self.answer(command).await;
        if let Some(number) = number {
            self.record(spec, number, begun);
            if self.replies.bytes().get(before) == Some(&b'-') {
                self.shared.metrics.record_error(number);
            }
        }
        flow
    }

    fn refuse(&mut self, number: Option<usize>, error: &ReplyError) {
        if let Some(number) = number {
            self.shared.metrics.record_error(number);
        }
        self.replies.error(error);
    }

    /// Executes steps, until all are done or there are more than so many bytes of replies more.
    async fn execute_steps(&mut self, reply_bytes_max: usize) {
        let begun = Instant::now();
        let (before, errors) = (self.replies.bytes().len(), self.replies.errors());
        let limit = before.saturating_add(reply_bytes_max);
        let bounds = Bounds::new(&self.shared.config, limit).with_turns(&self.shared.turns);
        let engine = &*self.shared.engine;
        let done = execute(engine, &self.steps, &mut self.replies, bounds).await;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for number in self.commands.iter().take(done) {
            self.shared.metrics.record(*number, nanos);
        }
        // Most have none, and need not be looked at.
        if self.replies.errors() != errors {
            let replies = self.replies.as_bytes().get(before..).unwrap_or_default();
            let failed = self.commands.iter().zip(failed::which_failed(replies));
            let failed = failed.filter(|(_, is_error)| *is_error);
            failed.for_each(|(number, _)| self.shared.metrics.record_error(*number));
        }
        // One line for all of them: nobody knows which was the slow one.
        if self.shared.slow_log.is_slow(nanos / 1000)
            && let (Some(step), Some(number)) = (self.steps.first(), self.commands.first())
        {
            note_slow(&self.shared, &self.peer, nanos / 1000, || {
                let mut described = described(step, *number);
                if done > 1 {
                    described.push(Bytes::from(format!("(and {} more)", done - 1)));
                }
                described
            });
        }
        if let Some(number) = self.commands.last() {
            self.peer.about().last_command = NAMES.get(*number).copied().unwrap_or_default();
        }
        if done == self.steps.len() {
            self.steps.clear();
            self.commands.clear();
        } else {
            self.steps.drain(..done);
            self.commands.drain(..done);
        }
    }

    fn record(&self, spec: &'static Spec, number: usize, begun: Instant) {
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.metrics.record(number, nanos);
        if self.shared.slow_log.is_slow(nanos / 1000) && !spec.has(Flag::SkipSlowlog) {
            let name = || vec![Bytes::from_static(spec.name().as_bytes())];
            note_slow(&self.shared, &self.peer, nanos / 1000, name);
        }
    }

    /// Says that an engine has failed.
    fn fail(&mut self, error: &crate::KvsError) {
        failure_log::note(error, |_| {});
        self.replies.error(&reply_error(error));
    }
}

/// What a client may send.
fn limits(config: &Config, is_known: bool) -> RequestLimits {
    let mut limits = RequestLimits::default();
    limits.argument_bytes_max = config.value_bytes_max.max(config.key_bytes_max);
    limits.arguments_max = config.arguments_max;
    limits.request_bytes_max = config.command_bytes_max;
    if is_known {
        return limits;
    }
    // What is configured may be more than usual.
    limits = limits.before_login();
    limits.arguments_max = config.unauthenticated_arguments_max;
    limits.argument_bytes_max = config.unauthenticated_argument_bytes_max;
    limits.buffer_bytes_max = config.unauthenticated_buffer_bytes_max;
    limits
}

/// The most steps that are gathered.
const STEPS_MAX: usize = 4096;

/// The names of the commands by their numbers.
static NAMES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(table::numbers);

fn note_slow(shared: &Shared, peer: &Peer, micros: u64, arguments: impl FnOnce() -> Vec<Bytes>) {
    shared.metrics.slow_command();
    let (arguments, name) = (arguments(), peer.about().name.clone());
    shared.slow_log.note(micros, arguments.iter().map(|it| &it[..]), peer.addr, &name);
}

/// A step for the log of slow commands: its name and its keys. Values are not told.
fn described(step: &StringStep, number: usize) -> Vec<Bytes> {
    let name = NAMES.get(number).copied().unwrap_or_default();
    let mut described = vec![Bytes::from_static(name.as_bytes())];
    step.reads(&mut described);
    step.writes(&mut described);
    let mut seen = std::collections::HashSet::new();
    described.retain(|argument| seen.insert(argument.clone()));
    described
}
