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
use tokio::task::yield_now;

use super::config::Config;
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

/// What is kept to while steps are executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Nothing more is executed when replies have so many bytes, those from before included.
    pub(crate) reply_bytes_max: usize,
    /// The most bytes of values that are read to be answered with.
    pub(crate) answer_bytes_max: usize,
    /// The longest key and the longest value that are written.
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
}

impl Bounds {
    /// Those of a configuration, with so many bytes of replies.
    pub(crate) fn new(config: &Config, reply_bytes_max: usize) -> Bounds {
        let Config { key_bytes_max, value_bytes_max, .. } = *config;
        let answer_bytes_max = config.output_bytes_per_connection_max;
        Bounds { reply_bytes_max, answer_bytes_max, key_bytes_max, value_bytes_max }
    }

    /// Refuses to write a key or a value that is too long.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        batch.iter().try_for_each(|operation| {
            let (key, value) = match operation {
                Operation::Set { key, value, .. } => (key, value),
                Operation::Remove { key } => (key, &[][..]),
            };
            let (bytes, limit) = (key.len(), self.key_bytes_max);
            if bytes > limit {
                return Err(KvsError::KeyTooLarge { bytes, limit });
            }
            let (bytes, limit) = (value.len(), self.value_bytes_max);
            if bytes > limit { Err(KvsError::ValueTooLarge { bytes, limit }) } else { Ok(()) }
        })
    }
}

/// Executes steps until all are done or there are many replies. How many it has executed is the
/// answer; it is at least one.
pub(crate) async fn execute<S: Step>(
    engine: &dyn KvsEngine,
    steps: &[S],
    replies: &mut S::Replies,
    bounds: Bounds,
) -> usize {
    let (mut done, mut tries) = (0, 0);
    while let Some(rest) = steps.get(done..).filter(|rest| !rest.is_empty()) {
        let run = Run { is_last_try: tries + 1 >= EXPIRY_TRIES, ..Run::begin(rest) };
        match run.execute(engine, replies, bounds).await {
            0 => {
                tries += 1;
                // Whoever was faster may be waiting for this thread.
                yield_now().await;
            }
            executed => (done, tries) = (done + executed, 0),
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
    bounds: &Bounds,
) -> Result<Vec<Option<Versioned>>> {
    match needs {
        Needs::Versions => engine.get_versions(keys).await,
        Needs::Values => engine.get_many(keys).await,
        Needs::Answer { bytes_max } => {
            let limit = bytes_max.min(bounds.answer_bytes_max);
            let read = engine.get_some(keys, limit).await?;
            let bytes: usize = read.iter().flatten().map(|found| found.value.len()).sum();
            match read.len() < keys.len() && bytes >= limit {
                true => Err(KvsError::AnswerTooLarge { limit }),
                false => Ok(read),
            }
        }
    }
}

/// Steps that are executed together.
struct Run<'s, S> {
    steps: &'s [S],
    keys: Vec<Bytes>,
    /// Of each step, which of the keys it reads, and whether it may write.
    parts: Vec<(Range<usize>, bool)>,
    /// Whether an expiry of the first step that has passed is the answer.
    is_last_try: bool,
}

impl<'s, S: Step> Run<'s, S> {
    /// The longest run at the begin of some steps.
    fn begin(steps: &'s [S]) -> Run<'s, S> {
        let mut run = Run { steps, keys: Vec::new(), parts: Vec::new(), is_last_try: false };
        let mut written = Vec::new();
        // The same, once a step asks whether a key is there, and how many of them it has.
        let (mut looked_up, mut looked_up_to) = (HashSet::new(), 0);
        let mut writers = 0;
        for step in steps {
            let first = run.keys.len();
            let written_before = written.len();
            step.reads(&mut run.keys);
            step.writes(&mut written);
            let writes = written.len() > written_before;
            let reads = run.keys.get(first..).unwrap_or_default();
            if !run.parts.is_empty() {
                let is_too_late = !writes && writers > 0;
                let is_too_many = run.keys.len() > READS_MAX || writers >= WRITES_MAX;
                let depends = writers > 0 && !reads.is_empty() && {
                    let new = written.get(looked_up_to..written_before).unwrap_or_default();
                    looked_up.extend(new.iter().cloned());
                    looked_up_to = written_before;
                    reads.iter().any(|key| looked_up.contains(key))
                };
                if is_too_late || is_too_many || depends {
                    run.keys.truncate(first);
                    break;
                }
            }
            writers += usize::from(writes);
            run.parts.push((first..run.keys.len(), writes));
        }
        run.steps = steps.get(..run.parts.len()).unwrap_or_default();
        run
    }

    /// Executes the run, or its begin. How many steps that was is the answer.
    async fn execute(
        mut self,
        engine: &dyn KvsEngine,
        replies: &mut S::Replies,
        bounds: Bounds,
    ) -> usize {
        let read = match (self.keys.as_slice(), self.steps) {
            ([], _) => Ok(Vec::new()),
            (keys, [step]) => read_for(engine, keys, step.needs(), &bounds).await,
            (keys, _) => engine.get_some(keys, READ_BYTES).await,
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
            (Err(_), _) => return self.execute_first(engine, replies, bounds).await,
        };
        if read.len() < self.keys.len() {
            let is_read = |(range, _): &(Range<usize>, bool)| range.end <= read.len();
            let count = self.parts.partition_point(is_read);
            if count == 0 {
                return self.execute_first(engine, replies, bounds).await;
            }
            self.parts.truncate(count);
            self.steps = self.steps.get(..count).unwrap_or_default();
        }
        let decided = self.decide(&read, engine.now_ms(), replies, &bounds);
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
            if let (Some(step), Ok(written)) = (self.steps.get(writer.step), outcome) {
                let from = marks.get(writer.step).copied().unwrap_or_default();
                let to = marks.get(writer.step + 1).copied().unwrap_or(replies.bytes().len());
                let reply = replies.bytes().get_mut(from..to).unwrap_or_default();
                step.complete(*written, reply);
            }
        }
        match outcomes.iter().all(Result::is_ok) {
            true => self.steps.len(),
            false => self.settle(&marks, &writers, &outcomes, replies),
        }
    }

    /// Executes the first step by itself.
    async fn execute_first(
        &self,
        engine: &dyn KvsEngine,
        replies: &mut S::Replies,
        bounds: Bounds,
    ) -> usize {
        let first = Run::begin(self.steps.get(..1).unwrap_or_default());
        let alone = Run { is_last_try: self.is_last_try, ..first };
        Box::pin(alone.execute(engine, replies, bounds)).await
    }

    fn decide(
        &self,
        read: &[Option<Versioned>],
        now_ms: u64,
        replies: &mut S::Replies,
        bounds: &Bounds,
    ) -> Decided {
        let mut decided = Decided::default();
        decided.marks.reserve(self.steps.len());
        for (index, (step, (range, may_write))) in self.steps.iter().zip(&self.parts).enumerate() {
            let mark = replies.bytes().len();
            decided.marks.push(mark);
            let own = read.get(range.clone()).unwrap_or_default();
            let mut batch = Batch::new();
            step.decide(own, now_ms, &mut batch, replies);
            if !may_write || batch.is_empty() && batch.requirements().is_empty() {
                continue;
            }
            if let Err(error) = bounds.check(&batch) {
                replies.bytes().truncate(mark);
                step.fail(&error, replies);
                continue;
            }
            let own_requirements = batch.requirements().len();
            let keys = self.keys.get(range.clone()).unwrap_or_default();
            for (key, found) in keys.iter().zip(own) {
                batch.require(key, expected(found.as_ref()));
            }
            let chained = !decided.writes.is_empty();
            decided.writers.push(Writer { step: index, own_requirements });
            decided.writes.push(Write { batch, durability: step.durability(), chained });
        }
        decided
    }

    /// Puts errors in the place of replies that came to nothing. How many steps are done is the
    /// answer: those from a refused one on are to be decided anew.
    fn settle(
        &self,
        marks: &[usize],
        writers: &[Writer],
        outcomes: &[Result<Written>],
        replies: &mut S::Replies,
    ) -> usize {
        let mut both = writers.iter().zip(outcomes);
        let end = both.find_map(|(writer, outcome)| match outcome {
            Err(error) if writer.is_answered(error) => Some(writer.step + 1),
            Err(KvsError::InvalidExpiry { .. }) if writer.step == 0 && self.is_last_try => Some(1),
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

/// A step that writes.
struct Writer {
    step: usize,
    /// How many requirements are its own, and not there because of what it was decided on.
    own_requirements: usize,
}

impl Writer {
    /// Whether a refusal is the answer: decided anew, the step would be refused again.
    fn is_answered(&self, error: &KvsError) -> bool {
        match error {
            KvsError::PreconditionFailed { requirement, .. } => {
                *requirement < self.own_requirements
            }
            error => is_for_ever(error),
        }
    }
}

/// What a key must still be like.
pub(super) fn expected(found: Option<&Versioned>) -> Expected {
    found.map_or(Expected::Absent, |found| Expected::Version(found.seq))
}

/// Whether an expiry can never be, and not only no longer.
pub(super) fn is_for_ever(error: &KvsError) -> bool {
    matches!(error, KvsError::InvalidExpiry { expires_at_ms, now_ms } if expires_at_ms > now_ms)
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;
