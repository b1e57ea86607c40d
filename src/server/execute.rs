//! Executes steps: what many of them read with one call of the engine, what they write with
//! another.
//!
//! Steps are taken in runs: some that only read, then some that write, none of which reads what an
//! earlier one of the run writes. A run is decided on what was read at its begin, and each of its
//! writes requires what it was decided on; they are chained, so that none overtakes one that was
//! refused. Where that happens, the next run begins at the refused step. So the effect is that of
//! one step after the other, whatever others write meanwhile.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, yield_now};

use super::bounds::Bounds;
use super::step::{Needs, Replies, Step};
use crate::batch::{Batch, Expected, Operation};
use crate::engine::{KvsEngine, Write};
use crate::error::{KvsError, Result};
use crate::store::{Versioned, Written};

/// The most steps of a run that write: their batches are held at the same time.
const WRITES_MAX: usize = 4096;
/// The most keys that are read with one call.
const READS_MAX: usize = 256;
/// How often a step is decided anew because an expiry passed meanwhile. A write that waits longer
/// for its turn than its key is to live would never be done.
pub(super) const EXPIRY_TRIES: u32 = 8;
/// About how many bytes of values are held at the same time, but for those of a single step.
const READ_BYTES: usize = 4 << 20;
/// What goes over more bytes is not done where other connections wait for it.
pub(super) const BYTES_AT_ONCE: usize = 256 << 10;
/// A run ends when what it writes has so many bytes.
const WRITE_BYTES: usize = 4 << 20;

/// Executes steps until all are done or there are many replies. How many it has executed is the
/// answer; it is at least one.
pub(crate) async fn execute<S: Step>(
    engine: &dyn KvsEngine,
    steps: &[S],
    replies: &mut S::Replies,
    bounds: Bounds<'_>,
) -> usize {
    let (mut done, mut turn) = (0, None);
    let mut refused: Option<Refused> = None;
    while let Some(rest) = steps.get(done..).filter(|rest| !rest.is_empty()) {
        // What was refused is done alone, so that less can come between.
        let rest = if refused.is_some() { rest.get(..1).unwrap_or(rest) } else { rest };
        let run = Run { refused, ..Run::begin(rest) };
        let losses = refused.map_or(0, |refused| refused.times);
        // It is kept until the step is done.
        if !run.written.is_empty() {
            let keys = run.written.iter().chain(&run.keys);
            bounds.take_turn(&mut turn, keys, losses).await;
        }
        let now_ms = refused.map_or_else(|| engine.now_ms(), |refused| refused.first_ms);
        match run.execute(engine, replies, &bounds, now_ms).await {
            0 => {
                refused = Some(Refused { times: losses + 1, first_ms: now_ms });
                // Whoever was faster may be waiting for this thread.
                yield_now().await;
            }
            executed => (done, refused, turn) = (done + executed, None, None),
        }
        if replies.bytes().len() > bounds.reply_bytes_max {
            break;
        }
    }
    done
}

/// Reads the keys of a single step.
async fn read_for(
    engine: &dyn KvsEngine,
    keys: &[Bytes],
    needs: Needs,
    bounds: &Bounds<'_>,
) -> Result<Vec<Option<Versioned>>> {
    match needs {
        Needs::Versions => engine.get_versions(keys).await,
        Needs::Values => engine.get_many(keys).await,
        Needs::Answer { bytes_max } => {
            let limit = bytes_max.min(bounds.answer_bytes_max);
            let read = engine.get_some(keys, limit).await?;
            let bytes = value_bytes(&read);
            match bytes > limit || bytes == limit && read.len() < keys.len() {
                true => Err(KvsError::AnswerTooLarge { limit }),
                false => Ok(read),
            }
        }
    }
}

/// What became of the earlier tries of a step.
#[derive(Clone, Copy)]
struct Refused {
    times: u32,
    /// When it was first decided: its expiries count from there.
    first_ms: u64,
}

/// Steps that are executed together.
struct Run<'s, S> {
    steps: &'s [S],
    keys: Vec<Bytes>,
    /// The keys that may be written.
    written: Vec<Bytes>,
    /// Of each step, which of the keys it reads, and whether it may write.
    parts: Vec<(Range<usize>, bool)>,
    /// None: this is the first try.
    refused: Option<Refused>,
}

impl<'s, S: Step> Run<'s, S> {
    /// The longest run at the begin of some steps.
    fn begin(steps: &'s [S]) -> Run<'s, S> {
        let (keys, written, parts) = (Vec::new(), Vec::new(), Vec::new());
        let mut run = Run { steps, keys, written, parts, refused: None };
        // What is written, once a step asks whether a key is there, and how many of them it has.
        let (mut looked_up, mut looked_up_to) = (HashSet::new(), 0);
        let mut writers = 0;
        for step in steps {
            let first = run.keys.len();
            let written_before = run.written.len();
            step.reads(&mut run.keys);
            step.writes(&mut run.written);
            let writes = run.written.len() > written_before;
            let reads = run.keys.get(first..).unwrap_or_default();
            // Several keys that are read at one moment, which no write proves to be one.
            let is_apart = !writes && reads.len() > 1;
            if !run.parts.is_empty() {
                let is_too_late = !writes && writers > 0;
                let is_too_many = run.keys.len() > READS_MAX || writers >= WRITES_MAX;
                let depends = writers > 0 && !reads.is_empty() && {
                    let new = run.written.get(looked_up_to..written_before).unwrap_or_default();
                    looked_up.extend(new.iter().cloned());
                    looked_up_to = written_before;
                    reads.iter().any(|key| looked_up.contains(key))
                };
                if is_too_late || is_too_many || is_apart || depends {
                    run.keys.truncate(first);
                    run.written.truncate(written_before);
                    break;
                }
            }
            writers += usize::from(writes);
            run.parts.push((first..run.keys.len(), writes));
            if is_apart {
                break;
            }
        }
        run.steps = steps.get(..run.parts.len()).unwrap_or_default();
        run
    }

    /// Executes the run, or its begin. How many steps that was is the answer.
    async fn execute(
        mut self,
        engine: &dyn KvsEngine,
        replies: &mut S::Replies,
        bounds: &Bounds<'_>,
        now_ms: u64,
    ) -> usize {
        let read = match (self.keys.as_slice(), self.steps) {
            ([], _) => Ok(Vec::new()),
            (keys, [step]) => read_for(engine, keys, step.needs(), bounds).await,
            (keys, _) => engine.get_each(keys, READ_BYTES).await,
        };
        let read = match (read, self.steps) {
            (Ok(read), [_]) if read.len() != self.keys.len() => Err(KvsError::JobLost),
            (read, _) => read,
        };
        let read = match (read, self.steps) {
            (Ok(read), _) => read,
            (Err(error), [step]) => {
                step.fail(&error, replies);
                return 1;
            }
            // Only those are to fail whose keys cannot be read.
            (Err(_), _) => return self.execute_first(engine, replies, bounds, now_ms).await,
        };
        if read.len() < self.keys.len() {
            let is_read = |(range, _): &(Range<usize>, bool)| range.end <= read.len();
            let count = self.parts.partition_point(is_read);
            if count == 0 {
                return self.execute_first(engine, replies, bounds, now_ms).await;
            }
            self.parts.truncate(count);
            self.steps = self.steps.get(..count).unwrap_or_default();
        }
        let moments = (now_ms, engine.now_ms());
        let decided = beside(self.bytes(&read), || self.decide(&read, moments, replies, bounds));
        self.steps = self.steps.get(..decided.marks.len()).unwrap_or_default();
        if decided.writes.is_empty() {
            return self.steps.len();
        }
        let Decided { marks, writers, writes } = decided;
        let outcomes = match engine.write(writes).await {
            Ok(outcomes) if outcomes.len() == writers.len() => outcomes,
            // Which of them have an outcome is not known.
            Ok(_) => vec![Err(KvsError::JobLost); writers.len()],
            Err(error) => vec![Err(error); writers.len()],
        };
        for (writer, outcome) in writers.iter().zip(&outcomes) {
            if let (Some(step), Ok(written), true) =
                (self.steps.get(writer.step), outcome, writer.is_write)
            {
                let from = marks.get(writer.step).copied().unwrap_or_default();
                let to = marks.get(writer.step + 1).copied().unwrap_or(replies.bytes().len());
                let reply = replies.bytes().get_mut(from..to).unwrap_or_default();
                step.complete(*written, reply);
            }
        }
        match outcomes.iter().all(Result::is_ok) {
            true => self.steps.len(),
            false => self.settle(&marks, (&writers, &outcomes), now_ms, replies),
        }
    }

    /// Executes the first step by itself.
    async fn execute_first(
        &self,
        engine: &dyn KvsEngine,
        replies: &mut S::Replies,
        bounds: &Bounds<'_>,
        now_ms: u64,
    ) -> usize {
        let first = Run::begin(self.steps.get(..1).unwrap_or_default());
        let alone = Run { refused: self.refused, ..first };
        Box::pin(alone.execute(engine, replies, bounds, now_ms)).await
    }

    /// How many bytes are gone over to decide the steps.
    fn bytes(&self, read: &[Option<Versioned>]) -> usize {
        let made =
            self.steps.iter().zip(&self.parts).map(|(step, (range, _))| {
                step.made_bytes(read.get(range.clone()).unwrap_or_default())
            });
        made.fold(value_bytes(read), usize::saturating_add)
    }

    /// Decides the steps, or as many as write so much. They are decided as of `now_ms`; what has
    /// expired since then, while the first was refused, is removed.
    fn decide(
        &self,
        read: &[Option<Versioned>],
        (now_ms, later_ms): (u64, u64),
        replies: &mut S::Replies,
        bounds: &Bounds<'_>,
    ) -> Decided {
        let mut decided = Decided::default();
        decided.marks.reserve(self.steps.len());
        let mut bytes = 0;
        for (index, (step, (range, may_write))) in self.steps.iter().zip(&self.parts).enumerate() {
            decided.marks.push(replies.bytes().len());
            let own = read.get(range.clone()).unwrap_or_default();
            let mut batch = decide_one(step, own, now_ms, replies, bounds);
            let is_write = *may_write && !(batch.is_empty() && batch.requirements().is_empty());
            // What it does not write, it has decided on what others may change before the writes
            // in front of it have their effect; or on several keys, which are read one by one.
            let is_proven = match own {
                [] => true,
                [_] => decided.writes.is_empty(),
                _ => self.steps.len() == 1,
            };
            if !is_write && (!may_write || is_proven) {
                continue;
            }
            if self.refused.is_some() {
                batch = without_lapsed(batch, now_ms, later_ms);
            }
            let own_requirements = batch.requirements().len();
            let keys = self.keys.get(range.clone()).unwrap_or_default();
            for (key, found) in keys.iter().zip(own) {
                batch.require(key, expected(found.as_ref()));
            }
            bytes += batch.byte_len();
            let chained = !decided.writes.is_empty();
            decided.writers.push(Writer { step: index, own_requirements, is_write });
            decided.writes.push(Write { batch, durability: step.durability(), chained });
            if bytes >= WRITE_BYTES {
                break;
            }
        }
        decided
    }

    /// Puts errors in the place of replies that came to nothing. How many steps are done is the
    /// answer: those from a refused one on are to be decided anew.
    fn settle(
        &self,
        marks: &[usize],
        (writers, outcomes): (&[Writer], &[Result<Written>]),
        now_ms: u64,
        replies: &mut S::Replies,
    ) -> usize {
        let is_last_try = self.refused.is_some_and(|refused| refused.times + 1 >= EXPIRY_TRIES);
        let mut both = writers.iter().zip(outcomes);
        let end = both.find_map(|(writer, outcome)| match outcome {
            Err(error) if writer.is_answered(error, now_ms) => Some(writer.step + 1),
            Err(KvsError::InvalidExpiry { .. }) if writer.step == 0 && is_last_try => Some(1),
            Err(error) if error.ends_chain() => Some(writer.step),
            _ => None,
        });
        let done = end.unwrap_or(self.steps.len());
        let end = marks.get(done).copied().unwrap_or(replies.bytes().len());
        replies.bytes().truncate(end);
        let first = marks.first().copied().unwrap_or_default();
        let decided = replies.bytes().split_off(first);
        let mut failed = writers
            .iter()
            .zip(outcomes)
            .filter_map(|(writer, outcome)| {
                outcome.as_ref().err().map(|error| (writer.step, error))
            })
            .peekable();
        for (index, step) in self.steps.iter().take(done).enumerate() {
            if let Some((_, error)) = failed.next_if(|(failed, _)| *failed == index) {
                step.fail(error, replies);
                continue;
            }
            let from = marks.get(index).copied().unwrap_or(end) - first;
            let to = marks.get(index + 1).copied().unwrap_or(end).min(end) - first;
            replies.bytes().extend_from_slice(decided.get(from..to).unwrap_or_default());
        }
        done
    }
}

/// What the steps of a run have decided.
#[derive(Default)]
struct Decided {
    /// Where the reply of each step begins.
    marks: Vec<usize>,
    /// The steps that write something, and what.
    writers: Vec<Writer>,
    writes: Vec<Write>,
}

/// A step that writes, or that requires that what it was decided on is still so.
struct Writer {
    step: usize,
    /// How many requirements are its own, and not there because of what it was decided on.
    own_requirements: usize,
    is_write: bool,
}

impl Writer {
    /// Whether a refusal is the answer: decided anew, the step would be refused again.
    fn is_answered(&self, error: &KvsError, now_ms: u64) -> bool {
        match error {
            KvsError::PreconditionFailed { requirement, .. } => {
                *requirement < self.own_requirements
            }
            error => is_for_ever(error, now_ms),
        }
    }
}

/// Decides one step: its reply and its batch, both without effect where a limit is in the way.
fn decide_one<S: Step>(
    step: &S,
    own: &[Option<Versioned>],
    now_ms: u64,
    replies: &mut S::Replies,
    bounds: &Bounds<'_>,
) -> Batch {
    let mark = replies.bytes().len();
    let mut batch = Batch::new();
    let checked = bounds.check_made(step.made_bytes(own)).and_then(|()| {
        step.decide(own, now_ms, &mut batch, replies);
        bounds.check(&batch)
    });
    if let Err(error) = checked {
        batch = Batch::new();
        replies.bytes().truncate(mark);
        step.fail(&error, replies);
    }
    batch
}

/// The same batch, but that what was to expire later when it was decided, and has expired by now,
/// is removed.
fn without_lapsed(batch: Batch, decided_ms: u64, now_ms: u64) -> Batch {
    let is_lapsed = |at_ms: u64| at_ms > decided_ms && at_ms <= now_ms;
    let has_lapsed = batch.iter().any(|operation| match operation {
        Operation::Set { expires_at_ms: Some(at_ms), .. } => is_lapsed(at_ms),
        _ => false,
    });
    if !has_lapsed {
        return batch;
    }
    let mut without = Batch::new();
    for requirement in batch.requirements() {
        without.require(&requirement.key, requirement.expected.clone());
    }
    for operation in batch.iter() {
        match operation {
            Operation::Set { key, value, expires_at_ms: None } => without.set(key, value),
            Operation::Set { key, value, expires_at_ms: Some(at_ms) } if !is_lapsed(at_ms) => {
                without.set_until(key, value, at_ms)
            }
            Operation::Set { key, .. } | Operation::Remove { key } => without.remove(key),
        };
    }
    without
}

/// Does what goes over so many bytes; where those are many, other connections are served meanwhile
/// by other threads.
pub(super) fn beside<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    let has_threads = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    match bytes > BYTES_AT_ONCE && Handle::try_current().is_ok_and(has_threads) {
        true => block_in_place(work),
        false => work(),
    }
}

/// The bytes of values.
pub(super) fn value_bytes(read: &[Option<Versioned>]) -> usize {
    read.iter().flatten().map(|found| found.value.len()).sum()
}

/// What a key must still be like.
pub(super) fn expected(found: Option<&Versioned>) -> Expected {
    found.map_or(Expected::Absent, |found| Expected::Version(found.seq))
}

/// Whether an expiry could not be when it was decided either: it is too late for any, or over.
pub(super) fn is_for_ever(error: &KvsError, decided_ms: u64) -> bool {
    matches!(error, KvsError::InvalidExpiry { expires_at_ms, now_ms }
        if expires_at_ms > now_ms || *expires_at_ms <= decided_ms)
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;
