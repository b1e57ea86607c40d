//! Transactions of the Redis protocol: what is queued after `MULTI`, and executed as one.
//!
//! Its steps are one batch. What asks no engine is executed behind it and replied to in its place.
//! A command on all keys (`KEYS`, `DBSIZE`) parts a transaction: what is before it and what is
//! behind it is atomic each for itself, and each requires that the watched keys are as they were.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Flow, Session};
use crate::protocol::resp::table::{Flag, Spec};
use crate::protocol::resp::{Command, ReplyError, StringStep};
use crate::server::bounds::Bounds;
use crate::server::failure_log;
use crate::server::step::{Replies, Step};
use crate::server::steps::reply_error;
use crate::server::transaction::{Watched, execute_as_one};

const TOO_LARGE: &str = "ERR the transaction is too large (multi_bytes_max)";
const CHANGED: ReplyError = ReplyError::new(
    "EXECABORT A watched key was changed while the transaction was executed in parts.",
);

/// Commands that wait for `EXEC`.
#[derive(Default)]
pub(super) struct Transaction {
    queue: Vec<(&'static Spec, Result<Command, ReplyError>)>,
    bytes: usize,
    /// A command was refused when it was to be queued, so nothing is executed.
    pub(super) is_broken: bool,
}

/// Whether a command waits for `EXEC`, in a transaction.
pub(super) fn is_queued(spec: &Spec) -> bool {
    !matches!(spec.name(), "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

impl Session {
    /// Puts a command into the transaction.
    pub(super) fn queue(&mut self, spec: &'static Spec, request: Vec<Bytes>) {
        let bytes_max = self.shared.config.multi_bytes_max;
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let bytes: usize = request.iter().map(bytes_of).sum();
        if spec.has(Flag::NoMulti) {
            transaction.is_broken = true;
            return self.replies.error(&ReplyError::NOT_IN_TRANSACTION);
        }
        if self.watches.bytes + transaction.bytes + bytes > bytes_max {
            transaction.is_broken = true;
            return self.replies.error(&ReplyError::new(TOO_LARGE));
        }
        transaction.bytes += bytes;
        // It waits, and the buffer that it came in is not to wait with it.
        let request = request.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
        transaction.queue.push((spec, spec.parse(request)));
        self.replies.simple("QUEUED");
        self.note_transaction();
    }

    pub(super) fn multi(&mut self) {
        if self.transaction.is_some() {
            return self.replies.error(&ReplyError::NESTED_MULTI);
        }
        self.transaction = Some(Transaction::default());
        self.replies.ok();
        self.note_transaction();
    }

    pub(super) fn discard(&mut self) {
        if self.transaction.take().is_none() {
            return self.replies.error(&ReplyError::DISCARD_WITHOUT_MULTI);
        }
        self.watches = Watches::default();
        self.replies.ok();
        self.note_transaction();
    }

    /// Remembers what keys are like.
    pub(super) async fn watch(&mut self, keys: Vec<Bytes>) {
        if self.transaction.is_some() {
            return self.replies.error(&ReplyError::WATCH_IN_MULTI);
        }
        let (mut new, mut seen) = (Vec::new(), HashSet::new());
        for key in &keys {
            if !self.watches.keys.contains(key) && seen.insert(key) {
                // A copy: the buffer that it came in is not to be kept with it.
                new.push(Bytes::copy_from_slice(key));
            }
        }
        let bytes = self.watches.bytes + new.iter().map(bytes_of).sum::<usize>();
        if bytes > self.shared.config.multi_bytes_max {
            return self.replies.error(&ReplyError::new(TOO_LARGE));
        }
        match self.shared.engine.get_versions(&new).await {
            Ok(found) => {
                self.watches.bytes = bytes;
                self.watches.keys.extend(new.iter().cloned());
                let versions = found.iter().map(|found| found.as_ref().map(|it| it.seq));
                let watched = new.into_iter().zip(versions);
                self.watches.all.extend(watched.map(|(key, version)| Watched { key, version }));
                self.replies.ok();
            }
            Err(error) => self.fail(&error),
        }
        self.note_transaction();
    }

    pub(super) fn unwatch(&mut self) {
        self.watches = Watches::default();
        self.replies.ok();
        self.note_transaction();
    }

    pub(super) async fn exec(&mut self) -> Flow {
        let Some(transaction) = self.transaction.take() else {
            self.replies.error(&ReplyError::EXEC_WITHOUT_MULTI);
            return Flow::GoOn;
        };
        let watched = std::mem::take(&mut self.watches).all;
        self.note_transaction();
        if transaction.is_broken {
            self.replies.error(&ReplyError::EXEC_ABORTED);
            return Flow::GoOn;
        }
        let before = self.replies.bytes().len();
        self.replies.array(transaction.queue.len());
        let mut execution = Execution { watched, before, ..Execution::default() };
        let mut part = Part::default();
        for (_, command) in transaction.queue {
            match command {
                Ok(Command::Step(step)) => part.steps.push(step),
                Ok(command) if is_parting(&command) => {
                    self.execute_part(&mut execution, std::mem::take(&mut part)).await;
                    self.execute_other(&mut execution, Ok(command)).await;
                }
                other => part.others.push((part.steps.len(), other)),
            }
        }
        self.execute_part(&mut execution, part).await;
        match execution.end {
            Some(End::TooMuch) => Flow::Quit,
            _ => execution.flow,
        }
    }

    /// Executes the steps so far as one, then what stands between them.
    async fn execute_part(&mut self, execution: &mut Execution, part: Part) {
        let Part { steps, others } = part;
        let from = self.replies.bytes().len();
        let is_asked = !steps.is_empty() || !execution.is_begun && !execution.watched.is_empty();
        let marks = match is_asked && execution.end.is_none() {
            true => self.execute_together(execution, &steps).await,
            false => Vec::new(),
        };
        if matches!(execution.end, Some(End::Changed)) {
            steps.iter().for_each(|_| self.replies.error(&CHANGED));
        }
        if others.is_empty() {
            execution.is_begun = true;
            return;
        }
        let decided = match execution.end {
            None => self.replies.bytes().split_off(from),
            Some(_) => Vec::new(),
        };
        let mut at = 0;
        for (index, other) in others {
            if execution.end.is_none() {
                let to = marks.get(index).map_or(decided.len(), |mark| mark - from);
                let replies = decided.get(at..to).unwrap_or_default();
                self.replies.bytes().extend_from_slice(replies);
                at = to;
            }
            self.execute_other(execution, other).await;
        }
        if execution.end.is_none() {
            self.replies.bytes().extend_from_slice(decided.get(at..).unwrap_or_default());
        }
        execution.is_begun = true;
    }

    /// Executes steps as one. Where the reply of each begins is the answer, as long as the
    /// transaction goes on.
    async fn execute_together(
        &mut self,
        execution: &mut Execution,
        steps: &[StringStep],
    ) -> Vec<usize> {
        let engine = &*self.shared.engine;
        let bounds = Bounds::new(&self.shared.config, usize::MAX);
        let bounds = bounds.with_turns(&self.shared.turns);
        let watched = &execution.watched;
        let executed = execute_as_one(engine, watched, steps, &mut self.replies, bounds);
        match executed.await {
            Ok(Some(marks)) => {
                execution.executed(steps);
                return marks;
            }
            Ok(None) if !execution.has_written => {
                self.replies.bytes().truncate(execution.before);
                self.replies.null_array();
                execution.end = Some(End::Replied);
            }
            Ok(None) => execution.end = Some(End::Changed),
            // Nothing was executed, so that is the reply to all of it.
            Err(error) if !execution.is_begun => {
                self.replies.bytes().truncate(execution.before);
                self.fail(&error);
                execution.end = Some(End::Replied);
            }
            // What came before is done, so each has a reply of its own.
            Err(error) => {
                failure_log::note(&error, |keys| steps.iter().for_each(|step| step.writes(keys)));
                let (error, mut marks) = (reply_error(&error), Vec::new());
                for _ in steps {
                    marks.push(self.replies.bytes().len());
                    self.replies.error(&error);
                }
                return marks;
            }
        }
        Vec::new()
    }

    /// Executes a command that is no step, or says what is wrong with it.
    async fn execute_other(
        &mut self,
        execution: &mut Execution,
        command: Result<Command, ReplyError>,
    ) {
        match (&execution.end, command) {
            (Some(End::Changed), _) => self.replies.error(&CHANGED),
            (Some(_), _) => {}
            (None, Err(error)) => self.replies.error(&error),
            (None, Ok(command)) => {
                if command == Command::Flush {
                    execution.has_written = true;
                    execution.watched.clear();
                }
                let flow = Box::pin(self.answer(command)).await;
                if flow == Flow::Quit {
                    execution.flow = flow;
                }
            }
        }
        let limit = self.shared.config.output_bytes_per_connection_max;
        if self.replies.bytes().len() > limit && execution.end.is_none() {
            execution.end = Some(End::TooMuch);
        }
    }

    fn note_transaction(&self) {
        let mut about = self.peer.about();
        about.queued = self.transaction.as_ref().map(|transaction| transaction.queue.len());
        about.watched = self.watches.all.len();
    }
}

/// The keys that a client watches.
#[derive(Default)]
pub(super) struct Watches {
    all: Vec<Watched>,
    keys: HashSet<Bytes>,
    /// What they take in memory.
    bytes: usize,
}

/// How an execution stands.
#[derive(Default)]
struct Execution {
    /// The watched keys that it has not written itself.
    watched: Vec<Watched>,
    /// Where its reply begins.
    before: usize,
    /// Whether something was executed already.
    is_begun: bool,
    has_written: bool,
    /// Why nothing more is executed.
    end: Option<End>,
    /// What becomes of the connection behind it: a client can end itself.
    flow: Flow,
}

/// Why a transaction is not executed further.
enum End {
    /// Its reply is made.
    Replied,
    /// A watched key has changed, and something is written already: each of the rest says so.
    Changed,
    /// Its replies are more than a connection may hold.
    TooMuch,
}

impl Execution {
    /// Watched keys that were written are the client's own.
    fn executed(&mut self, steps: &[StringStep]) {
        let mut written = Vec::new();
        steps.iter().for_each(|step| step.writes(&mut written));
        if written.is_empty() {
            return;
        }
        self.has_written = true;
        let written: HashSet<Bytes> = written.into_iter().collect();
        self.watched.retain(|watched| !written.contains(&watched.key));
    }
}

/// Steps that are executed as one, and what comes between them: each behind so many of them.
#[derive(Default)]
struct Part {
    steps: Vec<StringStep>,
    others: Vec<(usize, Result<Command, ReplyError>)>,
}

/// Whether the reply to a command depends on what is before it in a transaction, and that of what
/// is behind it on the command.
fn is_parting(command: &Command) -> bool {
    matches!(
        command,
        Command::Hello(_)
            | Command::Info(_)
            | Command::RandomKey
            | Command::Keys(_)
            | Command::Scan(_)
            | Command::DbSize
            | Command::Flush
    )
}

/// What a key or an argument takes that waits.
fn bytes_of(argument: &Bytes) -> usize {
    argument.len() + 64
}
