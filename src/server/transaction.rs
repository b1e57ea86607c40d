//! Executes steps as one: what all of them read is read with one call, each is decided on what
//! those before it have made of it, and what they write is one batch that requires everything that
//! was read. If something was changed meanwhile, all of it is decided anew.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::task::yield_now;

use super::execute::{Bounds, EXPIRY_TRIES, expected, is_for_ever};
use super::step::{Needs, Replies, Step};
use crate::batch::{Batch, Expected, Operation};
use crate::engine::{KvsEngine, Write};
use crate::error::{KvsError, Result};
use crate::options::Durability;
use crate::store::Versioned;

/// A key that must be as it was when a client began to watch it: its version, none if it was
/// absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) key: Bytes,
    pub(crate) version: Option<u64>,
}

/// Executes steps at one moment; their replies come one behind the other. False: a watched key has
/// changed, and nothing was executed.
///
/// # Errors
/// What reading or writing answers; nothing was executed, and there are no replies.
pub(crate) async fn execute_as_one<S: Step>(
    engine: &dyn KvsEngine,
    watched: &[Watched],
    steps: &[S],
    replies: &mut S::Replies,
    bounds: Bounds,
) -> Result<bool> {
    let mut keys = Vec::new();
    steps.iter().for_each(|step| step.reads(&mut keys));
    keys.sort_unstable();
    keys.dedup();
    let durability = strongest(steps.iter().filter_map(Step::durability));
    let before = replies.bytes().len();
    let only_versions = steps.iter().all(|step| step.needs() == Needs::Versions);
    let limit = bounds.answer_bytes_max.saturating_sub(before);
    let too_large = KvsError::AnswerTooLarge { limit: bounds.answer_bytes_max };
    let mut tries = 0;
    loop {
        let read = match keys.as_slice() {
            [] => Vec::new(),
            keys if only_versions => engine.get_versions(keys).await?,
            keys => engine.get_some(keys, limit).await?,
        };
        if read.len() < keys.len() {
            return Err(too_large);
        }
        let mut batch = Batch::new();
        for Watched { key, version } in watched {
            batch.require(key, version.map_or(Expected::Absent, Expected::Version));
        }
        for (key, found) in keys.iter().zip(&read) {
            batch.require(key, expected(found.as_ref()));
        }
        let moment = (engine.now_ms(), limit);
        if !decide_all(steps, &keys, read, moment, &mut batch, replies) {
            replies.bytes().truncate(before);
            return Err(too_large);
        }
        if batch.is_empty() && batch.requirements().is_empty() {
            return Ok(true);
        }
        if let Err(error) = bounds.check(&batch) {
            replies.bytes().truncate(before);
            return Err(error);
        }
        let written = engine.write(vec![Write { batch, durability, chained: false }]).await;
        match written.and_then(|mut outcomes| outcomes.pop().unwrap_or(Err(KvsError::JobLost))) {
            Ok(_) => return Ok(true),
            Err(error) => {
                replies.bytes().truncate(before);
                match error {
                    KvsError::PreconditionFailed { requirement, .. }
                        if requirement < watched.len() =>
                    {
                        return Ok(false);
                    }
                    KvsError::InvalidExpiry { .. } if tries + 1 >= EXPIRY_TRIES => {
                        return Err(error);
                    }
                    error if error.ends_chain() && !is_for_ever(&error) => {
                        tries += 1;
                        yield_now().await;
                    }
                    error => return Err(error),
                }
            }
        }
    }
}

/// Lets each step decide on what those before it have left. False: it would read or answer more than
/// the limit.
fn decide_all<S: Step>(
    steps: &[S],
    keys: &[Bytes],
    read: Vec<Option<Versioned>>,
    (now_ms, limit): (u64, usize),
    batch: &mut Batch,
    replies: &mut S::Replies,
) -> bool {
    let before = replies.bytes().len();
    let mut state: HashMap<&[u8], Option<Versioned>> =
        keys.iter().map(|key| &key[..]).zip(read).collect();
    let mut own_keys = Vec::new();
    for step in steps {
        own_keys.clear();
        step.reads(&mut own_keys);
        let known = |key: &Bytes| state.get(&key[..]).and_then(Option::as_ref);
        let own: Vec<Option<Versioned>> = if step.needs() == Needs::Versions {
            let version = |known: &Versioned| Versioned { value: Vec::new().into(), ..*known };
            own_keys.iter().map(|key| known(key).map(version)).collect()
        } else {
            let bytes: usize = own_keys.iter().filter_map(known).map(|it| it.value.len()).sum();
            // The same key may be read often.
            if bytes > limit {
                return false;
            }
            own_keys.iter().map(|key| known(key).cloned()).collect()
        };
        let mut decided = Batch::new();
        step.decide(&own, now_ms, &mut decided, replies);
        if replies.bytes().len() - before > limit {
            return false;
        }
        for operation in decided.iter() {
            let after = match operation {
                Operation::Set { key, value, expires_at_ms } => {
                    match expires_at_ms {
                        Some(at_ms) => batch.set_until(key, value, at_ms),
                        None => batch.set(key, value),
                    };
                    Some(Versioned { value: value.to_vec().into(), seq: 0, expires_at_ms })
                }
                Operation::Remove { key } => {
                    batch.remove(key);
                    None
                }
            };
            // Only what some step reads matters.
            if let Some(known) = state.get_mut(operation.key()) {
                *known = after;
            }
        }
    }
    true
}

/// The strongest of several durabilities; none: nobody asks for one.
fn strongest(all: impl Iterator<Item = Durability>) -> Option<Durability> {
    all.reduce(|one, other| match (one, other) {
        (Durability::Always, _) | (_, Durability::Always) => Durability::Always,
        (one, _) => one,
    })
}
