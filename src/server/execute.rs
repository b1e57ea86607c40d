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

use super::step::{Replies, Step};
use crate::batch::{Batch, Expected};
use crate::engine::{KvsEngine, Write};
use crate::error::{KvsError, Result};
use crate::store::{Versioned, Written};

/// The most steps of a run that write: their batches are held at the same time.
const WRITES_MAX: usize = 4096;
/// The most keys that are read with one call, where values are small.
const READS_MAX: usize = 256;
/// About how many bytes of values are held at the same time.
const READ_BYTES: usize = 4 << 20;

/// Executes steps until all are done or there are more than so many bytes of replies. How many it
/// has executed is the answer; it is at least one.
pub(crate) async fn execute<S: Step>(
    engine: &dyn KvsEngine,
    steps: &[S],
    replies: &mut S::Replies,
    reply_bytes_max: usize,
) -> usize {
    let mut done = 0;
    let mut reads_max = READS_MAX;
    while let Some(rest) = steps.get(done..).filter(|rest| !rest.is_empty()) {
        let before = replies.bytes().len();
        let run = Run::begin(rest, reads_max);
        let executed = run.execute(engine, replies).await;
        done += executed;
        let bytes = replies.bytes().len();
        if bytes > reply_bytes_max {
            break;
        }
        // As many at a time as have about that many bytes.
        let bytes_each = (bytes.saturating_sub(before) / executed.max(1)).max(1);
        reads_max = (READ_BYTES / bytes_each).clamp(1, READS_MAX);
    }
    done
}

/// Steps that are executed together.
struct Run<'s, S> {
    steps: &'s [S],
    keys: Vec<Bytes>,
    /// Of each step, which of the keys it reads, and whether it may write.
    parts: Vec<(Range<usize>, bool)>,
}

impl<'s, S: Step> Run<'s, S> {
    /// The longest run at the begin of some steps.
    fn begin(steps: &'s [S], reads_max: usize) -> Run<'s, S> {
        let mut run = Run { steps, keys: Vec::new(), parts: Vec::new() };
        let mut written = Vec::new();
        // The same, once a step asks whether a key is there.
        let mut looked_up = HashSet::new();
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
                let is_too_many = run.keys.len() > reads_max || writers >= WRITES_MAX;
                let depends = writers > 0 && !reads.is_empty() && {
                    let new = written.get(looked_up.len()..written_before).unwrap_or_default();
                    looked_up.extend(new.iter().cloned());
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
    async fn execute(self, engine: &dyn KvsEngine, replies: &mut S::Replies) -> usize {
        let read = match self.keys.as_slice() {
            [] => Ok(Vec::new()),
            keys => engine.get_many(keys).await,
        };
        let read = match (read, self.steps) {
            (Ok(read), _) => read,
            (Err(error), [step]) => {
                step.fail(&error, replies);
                return 1;
            }
            // Only those are to fail whose keys cannot be read.
            (Err(_), steps) => {
                let alone = Run::begin(steps.get(..1).unwrap_or_default(), 1);
                return Box::pin(alone.execute(engine, replies)).await;
            }
        };
        let decided = self.decide(&read, engine.now_ms(), replies);
        if decided.writes.is_empty() {
            return self.steps.len();
        }
        let Decided { marks, writers, writes } = decided;
        let outcomes = match engine.write(writes).await {
            Ok(outcomes) => outcomes,
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

    fn decide(&self, read: &[Option<Versioned>], now_ms: u64, replies: &mut S::Replies) -> Decided {
        let mut decided = Decided::default();
        decided.marks.reserve(self.steps.len());
        for (index, (step, (range, may_write))) in self.steps.iter().zip(&self.parts).enumerate() {
            decided.marks.push(replies.bytes().len());
            let own = read.get(range.clone()).unwrap_or_default();
            let mut batch = Batch::new();
            step.decide(own, now_ms, &mut batch, replies);
            if !may_write || batch.is_empty() && batch.requirements().is_empty() {
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
