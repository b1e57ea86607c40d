//! Executes steps as one: what all of them read is read with one call, each is decided on what
//! those before it have made of it, and what they write is one batch that requires everything that
//! was read. If something was changed meanwhile, all of it is decided anew. What writes nothing is
//! as of the moment of reading, and requires no more than what is watched.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio::task::yield_now;

use super::bounds::Bounds;
use super::execute::{BYTES_AT_ONCE, EXPIRY_TRIES, beside, expected, is_for_ever, value_bytes};
use super::step::{Needs, Replies, Step};
use crate::batch::{Batch, Expected, Operation};
use crate::engine::{KvsEngine, Write};
use crate::error::{KvsError, Result};
use crate::options::{BATCH_BYTES_MAX, Durability, OPERATION_BYTES};
use crate::store::Versioned;

/// What a step counts for where others wait, beside its values.
const STEP_BYTES: usize = 256;

/// A key that must be as it was when a client began to watch it: its version, none if it was
/// absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) key: Bytes,
    pub(crate) version: Option<u64>,
}

/// Executes steps at one moment; their replies come one behind the other. The answer is where the
/// reply of each begins; none: a watched key has changed, and nothing was executed.
///
/// # Errors
/// What reading or writing answers; nothing was executed, and there are no replies.
pub(crate) async fn execute_as_one<S: Step>(
    engine: &dyn KvsEngine,
    watched: &[Watched],
    steps: &[S],
    replies: &mut S::Replies,
    bounds: Bounds<'_>,
) -> Result<Option<Vec<usize>>> {
    let (mut keys, mut written) = (Vec::new(), Vec::new());
    for step in steps {
        step.reads(&mut keys);
        step.writes(&mut written);
    }
    keys.sort_unstable();
    keys.dedup();
    let durability = strongest(steps.iter().filter_map(Step::durability));
    let before = replies.bytes().len();
    let only_versions = steps.iter().all(|step| step.needs() == Needs::Versions);
    let limit = bounds.answer_bytes_max.saturating_sub(before);
    let too_large = KvsError::AnswerTooLarge { limit: bounds.answer_bytes_max };
    // Expiries count from here, however often all of it is decided anew.
    let now_ms = engine.now_ms();
    let (mut tries, mut turn) = (0, None);
    loop {
        if !written.is_empty() {
            bounds.take_turn(&mut turn, written.iter().chain(&keys), tries).await;
        }
        let read = read_all(engine, &keys, only_versions, limit).await?;
        if read.len() < keys.len() {
            return Err(too_large);
        }
        let seen: Vec<Expected> = read.iter().map(|found| expected(found.as_ref())).collect();
        let mut draft = Draft::new(&keys, read);
        let decided = draft.decide_all(steps, (now_ms, limit), replies, &bounds).await;
        let marks = decided.inspect_err(|_| replies.bytes().truncate(before))?;
        let mut batch = requiring(watched);
        if !draft.written.is_empty() {
            // Where nothing is written, it is as of the moment of reading.
            for (key, seen) in keys.iter().zip(seen) {
                batch.require(key, seen);
            }
        }
        let moments = (now_ms, engine.now_ms());
        beside(draft.bytes, || draft.put(&mut batch, moments));
        if batch.is_empty() && batch.requirements().is_empty() {
            return Ok(Some(marks));
        }
        let outcome = engine.write(vec![Write { batch, durability, chained: false }]).await;
        match outcome.and_then(|mut outcomes| outcomes.pop().unwrap_or(Err(KvsError::JobLost))) {
            Ok(_) => return Ok(Some(marks)),
            Err(error) => {
                replies.bytes().truncate(before);
                match error {
                    KvsError::PreconditionFailed { requirement, .. }
                        if requirement < watched.len() =>
                    {
                        return Ok(None);
                    }
                    KvsError::InvalidExpiry { .. } if tries + 1 >= EXPIRY_TRIES => {
                        return Err(error);
                    }
                    error if !error.ends_chain() || is_for_ever(&error, now_ms) => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
        }
        tries += 1;
        yield_now().await;
    }
}

async fn read_all(
    engine: &dyn KvsEngine,
    keys: &[Bytes],
    only_versions: bool,
    limit: usize,
) -> Result<Vec<Option<Versioned>>> {
    match keys {
        [] => Ok(Vec::new()),
        keys if only_versions => engine.get_versions(keys).await,
        keys => engine.get_some(keys, limit).await,
    }
}

/// A batch that requires that watched keys are as they were.
fn requiring(watched: &[Watched]) -> Batch {
    let mut batch = Batch::new();
    for Watched { key, version } in watched {
        batch.require(key, version.map_or(Expected::Absent, Expected::Version));
    }
    batch
}

/// What keys are like after the steps so far: those that were read, and those that are written.
struct Draft {
    state: HashMap<Bytes, Option<Versioned>>,
    /// The keys that are written, in the order in which they first were.
    written: Vec<Bytes>,
    is_written: HashSet<Bytes>,
    /// What those have together, in bytes.
    bytes: usize,
}

impl Draft {
    fn new(keys: &[Bytes], read: Vec<Option<Versioned>>) -> Draft {
        let state = keys.iter().cloned().zip(read).collect();
        Draft { state, written: Vec::new(), is_written: HashSet::new(), bytes: 0 }
    }

    /// Lets each step decide on what those before it have left. Where the reply of each begins is
    /// the answer. Others have their turns in between, where much is read and made.
    ///
    /// # Errors
    /// That it would read, answer or write more than a limit.
    async fn decide_all<S: Step>(
        &mut self,
        steps: &[S],
        (now_ms, limit): (u64, usize),
        replies: &mut S::Replies,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<usize>> {
        let before = replies.bytes().len();
        let too_large = || KvsError::AnswerTooLarge { limit: bounds.answer_bytes_max };
        let (mut marks, mut keys) = (Vec::with_capacity(steps.len()), Vec::new());
        let mut bytes_at_once = 0;
        for step in steps {
            marks.push(replies.bytes().len());
            keys.clear();
            step.reads(&mut keys);
            let own = self.read(&keys, step.needs(), limit).ok_or_else(too_large)?;
            let made_bytes = step.made_bytes(&own);
            bounds.check_made(made_bytes)?;
            let bytes = value_bytes(&own).saturating_add(made_bytes);
            let mut decided = Batch::new();
            beside(bytes, || step.decide(&own, now_ms, &mut decided, replies));
            self.give_back(&keys, own);
            if replies.bytes().len() - before > limit {
                return Err(too_large());
            }
            bounds.check(&decided)?;
            beside(bytes, || decided.iter().for_each(|operation| self.apply(operation)));
            bytes_at_once += bytes.min(BYTES_AT_ONCE) + STEP_BYTES;
            if bytes_at_once >= BYTES_AT_ONCE {
                bytes_at_once = 0;
                yield_now().await;
            }
            if self.written.len() > 1 && self.bytes > BATCH_BYTES_MAX {
                return Err(KvsError::BatchTooLarge { bytes: self.bytes, limit: BATCH_BYTES_MAX });
            }
        }
        Ok(marks)
    }

    /// What a step reads; none: it is more than the limit. The value of a single key is taken out,
    /// until it is given back.
    fn read(
        &mut self,
        keys: &[Bytes],
        needs: Needs,
        limit: usize,
    ) -> Option<Vec<Option<Versioned>>> {
        if needs == Needs::Versions {
            let version = |known: &Versioned| Versioned { value: Vec::new().into(), ..*known };
            let known = |key: &Bytes| self.state.get(key).and_then(Option::as_ref);
            return Some(keys.iter().map(|key| known(key).map(version)).collect());
        }
        if let [key] = keys {
            return Some(vec![self.state.get_mut(key).and_then(Option::take)]);
        }
        let known = |key: &Bytes| self.state.get(key).and_then(Option::as_ref);
        // The same key may be read often.
        let bytes: usize = keys.iter().filter_map(known).map(|it| it.value.len()).sum();
        (bytes <= limit).then(|| keys.iter().map(|key| known(key).cloned()).collect())
    }

    fn give_back(&mut self, keys: &[Bytes], mut own: Vec<Option<Versioned>>) {
        if let ([key], Some(taken @ Some(_))) = (keys, own.pop())
            && let Some(place @ None) = self.state.get_mut(key)
        {
            *place = taken;
        }
    }

    fn apply(&mut self, operation: Operation<'_>) {
        let after = match operation {
            Operation::Set { value, expires_at_ms, .. } => {
                Some(Versioned { value: value.to_vec().into(), seq: 0, expires_at_ms })
            }
            Operation::Remove { .. } => None,
        };
        let key = Bytes::copy_from_slice(operation.key());
        let size = |found: &Option<Versioned>| found.as_ref().map_or(0, |it| it.value.len());
        self.bytes += size(&after);
        let before = self.state.insert(key.clone(), after);
        if self.is_written.insert(key.clone()) {
            self.bytes += key.len() + OPERATION_BYTES;
            self.written.push(key);
        } else {
            self.bytes -= before.as_ref().map_or(0, size);
        }
    }

    /// Puts what is written into a batch, each key once. What was to expire later when it was
    /// decided, and has expired by now, is removed.
    fn put(&mut self, batch: &mut Batch, (decided_ms, now_ms): (u64, u64)) {
        for key in &self.written {
            let is_lapsed = |at_ms| at_ms > decided_ms && at_ms <= now_ms;
            match self.state.remove(key).flatten() {
                Some(Versioned { value, expires_at_ms: None, .. }) => batch.set(key, &*value),
                Some(Versioned { value, expires_at_ms: Some(at_ms), .. }) if !is_lapsed(at_ms) => {
                    batch.set_until(key, &*value, at_ms)
                }
                _ => batch.remove(key),
            };
        }
    }
}

/// The strongest of several durabilities; none: nobody asks for one.
fn strongest(all: impl Iterator<Item = Durability>) -> Option<Durability> {
    all.reduce(|one, other| match (one, other) {
        (Durability::Always, _) | (_, Durability::Always) => Durability::Always,
        (one, _) => one,
    })
}
