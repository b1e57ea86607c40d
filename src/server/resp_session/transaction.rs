//! Transactions of the Redis protocol: what is queued after `MULTI`, and executed as one.
//!
//! Steps that come one after the other are one batch. A command that is no step (`KEYS`, `DBSIZE`)
//! parts a transaction: what is before it and what is behind it is atomic each for itself.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Flow, Session};
use crate::protocol::resp::table::{Flag, Spec};
use crate::protocol::resp::{Command, ReplyError, StringStep};
use crate::server::execute::Bounds;
use crate::server::failure_log;
use crate::server::step::{Replies, Step};
use crate::server::steps::reply_error;
use crate::server::transaction::{Watched, execute_as_one};

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
        let bytes: usize = request.iter().map(|argument| argument.len() + 64).sum();
        if spec.has(Flag::NoMulti) {
            transaction.is_broken = true;
            return self.replies.error(&ReplyError::NOT_IN_TRANSACTION);
        }
        if transaction.bytes + bytes > bytes_max {
            transaction.is_broken = true;
            let text = "ERR the transaction is too large (multi_bytes_max)";
            return self.replies.error(&ReplyError::new(text));
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
        self.watched.clear();
        self.replies.ok();
        self.note_transaction();
    }

    /// Remembers what keys are like.
    pub(super) async fn watch(&mut self, keys: Vec<Bytes>) {
        if self.transaction.is_some() {
            return self.replies.error(&ReplyError::WATCH_IN_MULTI);
        }
        let known = self.watched.iter().map(|watched| watched.key.clone());
        let mut known: HashSet<Bytes> = known.collect();
        // Copies: the buffer that they came in is not to be kept with them.
        let mut keys: Vec<Bytes> = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        keys.retain(|key| known.insert(key.clone()));
        match self.shared.engine.get_versions(&keys).await {
            Ok(found) => {
                let versions = found.iter().map(|found| found.as_ref().map(|it| it.seq));
                let watched = keys.into_iter().zip(versions);
                self.watched.extend(watched.map(|(key, version)| Watched { key, version }));
                self.replies.ok();
            }
            Err(error) => self.fail(&error),
        }
        self.note_transaction();
    }

    pub(super) fn unwatch(&mut self) {
        self.watched.clear();
        self.replies.ok();
        self.note_transaction();
    }

    pub(super) async fn exec(&mut self) -> Flow {
        let Some(transaction) = self.transaction.take() else {
            self.replies.error(&ReplyError::EXEC_WITHOUT_MULTI);
            return Flow::GoOn;
        };
        let watched = std::mem::take(&mut self.watched);
        self.note_transaction();
        if transaction.is_broken {
            self.replies.error(&ReplyError::EXEC_ABORTED);
            return Flow::GoOn;
        }
        let before = self.replies.bytes().len();
        self.replies.array(transaction.queue.len());
        let mut parts = Parts { watched, steps: Vec::new(), is_first: true };
        let mut flow = Flow::GoOn;
        for (_, command) in transaction.queue {
            match command {
                Ok(Command::Step(step)) => parts.steps.push(step),
                other => {
                    if !self.execute_part(&mut parts, before).await {
                        return Flow::GoOn;
                    }
                    match other {
                        Err(error) => self.replies.error(&error),
                        Ok(command) => {
                            if Box::pin(self.answer(command)).await == Flow::Quit {
                                flow = Flow::Quit;
                            }
                        }
                    }
                }
            }
        }
        self.execute_part(&mut parts, before).await;
        flow
    }

    /// Executes the steps so far. False: the transaction is over, and its reply is made.
    async fn execute_part(&mut self, parts: &mut Parts, before: usize) -> bool {
        let steps = std::mem::take(&mut parts.steps);
        let watched = std::mem::take(&mut parts.watched);
        let is_first = std::mem::replace(&mut parts.is_first, false);
        if steps.is_empty() && watched.is_empty() {
            return true;
        }
        let engine = &*self.shared.engine;
        let bounds = Bounds::new(&self.shared.config, usize::MAX);
        match execute_as_one(engine, &watched, &steps, &mut self.replies, bounds).await {
            Ok(true) => return true,
            Ok(false) => {
                self.replies.bytes().truncate(before);
                self.replies.null_array();
            }
            // Nothing was executed, so that is the reply to all of it.
            Err(error) if is_first => {
                self.replies.bytes().truncate(before);
                self.fail(&error);
            }
            // What came before is done, so each has a reply of its own.
            Err(error) => {
                failure_log::note(&error, |keys| steps.iter().for_each(|step| step.writes(keys)));
                steps.iter().for_each(|_| self.replies.error(&reply_error(&error)));
                return true;
            }
        }
        false
    }

    fn note_transaction(&self) {
        let mut about = self.peer.about();
        about.queued = self.transaction.as_ref().map(|transaction| transaction.queue.len());
        about.watched = self.watched.len();
    }
}

/// What of a transaction is still to be executed.
struct Parts {
    watched: Vec<Watched>,
    steps: Vec<StringStep>,
    /// Whether nothing was executed yet.
    is_first: bool,
}
