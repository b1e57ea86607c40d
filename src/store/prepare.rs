//! What happens to batches before they are queued: each is checked, its keys are looked up, those
//! of all together, and they go into one group.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::group::{Check, Checks, Commits, Look, Vec1, Written};
use super::hash::KeyHash;
use super::queue::GROUP_BYTES_MAX;
use super::record;
use super::sync::try_lock;
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::options::{EXPIRES_AT_MS_MAX, WriteOptions};

/// How many keys are looked up at a time, so that the processor waits for them together.
const WINDOW: usize = 16;

/// Batches on their way into the queue.
#[derive(Default)]
struct Prepared<'a> {
    operations: Vec<Operation<'a>>,
    hashes: Vec<KeyHash>,
    looks: Vec<Look>,
    drafts: Vec<Draft>,
}

/// One of the batches: which of the operations are its own, and what else there is to it.
struct Draft {
    operations: Range<usize>,
    checks: Option<Box<Checks>>,
    bytes: usize,
    has_sets: bool,
    sync: bool,
    chained: bool,
    failed: Option<KvsError>,
}

impl Core {
    /// Writes a batch, if what it depends on holds: of operations on the same key, the last one.
    pub(crate) fn write_batch(&self, batch: &Batch, options: WriteOptions) -> Result<Written> {
        check_expiries(batch, self.time.now_ms())?;
        self.write_checked(batch, options)
    }

    /// As `write_batch`, with expiries as they are: that of a key that is to keep its own may have
    /// come.
    pub(crate) fn write_checked(&self, batch: &Batch, options: WriteOptions) -> Result<Written> {
        let mut prepared = Prepared::default();
        self.draft(&mut prepared, batch, options, batch.check());
        self.look_up(&mut prepared)?;
        self.submit_all(prepared).first().unwrap_or(Err(KvsError::Closed))
    }

    /// Writes batches in this order, each for itself: as many as fit with one append and, if any
    /// of them waits for the disk, one sync.
    pub(crate) fn write_many(&self, writes: &[(&Batch, WriteOptions)]) -> Vec<Result<Written>> {
        let now_ms = self.time.now_ms();
        let mut prepared = Prepared::default();
        for (batch, options) in writes {
            let checked = batch.check().and_then(|()| check_expiries(batch, now_ms));
            self.draft(&mut prepared, batch, *options, checked);
        }
        match self.look_up(&mut prepared) {
            Ok(()) => self.submit_all(prepared).into_iter().collect(),
            Err(error) => vec![Err(error); writes.len()],
        }
    }

    /// Whether a write of about that many bytes might have to wait for something other than its
    /// own append: another writer, the disk, compaction.
    pub(crate) fn would_wait(&self, bytes: usize, options: WriteOptions) -> bool {
        if self.is_waited_for(options)
            || self.space.is_over.load(Ordering::Relaxed)
            || !self.queue.is_idle()
        {
            return true;
        }
        let has_seqs = self.next_seq.load(Ordering::Relaxed).saturating_add(bytes as u64)
            < self.reserved_seq.load(Ordering::Relaxed);
        let log = try_lock(&self.log);
        !has_seqs
            || bytes > GROUP_BYTES_MAX
            || log.is_none_or(|log| !log.appender.takes(bytes as u64, log.is_empty()))
    }

    fn draft<'a>(
        &self,
        prepared: &mut Prepared<'a>,
        batch: &'a Batch,
        options: WriteOptions,
        checked: Result<()>,
    ) {
        let first = prepared.operations.len();
        let (sync, chained) = (self.is_waited_for(options), options.chained);
        if let Err(error) = checked {
            let failed = Some(error);
            let (operations, checks) = (first..first, None);
            let (bytes, has_sets) = (0, false);
            return prepared.drafts.push(Draft {
                operations,
                checks,
                bytes,
                has_sets,
                sync,
                chained,
                failed,
            });
        }
        prepared.operations.extend(batch.iter());
        let hash = |operation: &Operation<'_>| self.hasher.hash(operation.key());
        prepared.hashes.extend(prepared.operations.iter().skip(first).map(hash));
        prepared.keep_last(first);
        let check = |requirement: &crate::batch::Requirement| {
            let hash = self.hasher.hash(&requirement.key);
            Check { requirement: requirement.clone(), hash }
        };
        let all: Vec<Check> = batch.requirements().iter().map(check).collect();
        let checks = (!all.is_empty()).then(|| Box::new(Checks { all, refused: None }));
        let operations = first..prepared.operations.len();
        let own = prepared.operations.get(operations.clone()).unwrap_or_default();
        let bytes = own.iter().map(|it| record::encoded_len_max(it.byte_len(), 0)).sum::<usize>();
        let has_sets = own.iter().any(|it| matches!(it, Operation::Set { .. }));
        prepared.drafts.push(Draft {
            operations,
            checks,
            bytes,
            has_sets,
            sync,
            chained,
            failed: None,
        });
    }

    /// Finds out what the keys are now.
    fn look_up(&self, prepared: &mut Prepared<'_>) -> Result<()> {
        self.check_writable()?;
        let Prepared { operations, hashes, looks, drafts } = prepared;
        let generation = self.keydir.generation();
        let pin = self.pins.pin();
        looks.reserve_exact(hashes.len());
        for draft in drafts {
            for index in draft.operations.clone() {
                if index.is_multiple_of(WINDOW) {
                    let ahead = hashes.get(index..).unwrap_or_default();
                    self.prefetch(&pin, ahead.get(..WINDOW).unwrap_or(ahead));
                }
                let (Some(operation), Some(hash)) = (operations.get(index), hashes.get(index))
                else {
                    continue;
                };
                let seen = self.find(&pin, operation.key(), *hash).unwrap_or_else(|error| {
                    draft.failed.get_or_insert(error);
                    None
                });
                looks.push(Look { hash: *hash, seen, generation });
            }
        }
        Ok(())
    }

    /// Queues what was prepared, in as few groups as it fits into.
    fn submit_all(&self, prepared: Prepared<'_>) -> Vec1<Result<Written>> {
        let Prepared { operations, looks, drafts, .. } = prepared;
        let mut steps = operations.into_iter().zip(looks);
        let mut outcomes = Vec::new();
        let mut drafts = drafts.into_iter().peekable();
        loop {
            if is_broken(outcomes.last()) {
                while let Some(draft) = drafts.next_if(|next| next.chained) {
                    steps.by_ref().take(draft.operations.len()).for_each(drop);
                    outcomes.push(Err(KvsError::Skipped));
                }
            }
            let mut group = Vec::new();
            let (mut bytes, mut sync, mut has_sets) = (0, false, false);
            while let Some(draft) =
                drafts.next_if(|next| group.is_empty() || bytes + next.bytes <= GROUP_BYTES_MAX)
            {
                bytes += draft.bytes;
                sync |= draft.sync;
                has_sets |= draft.has_sets;
                group.push(draft);
            }
            let count = group.len();
            if count == 0 {
                return Vec1::Many(outcomes);
            }
            if has_sets {
                self.wait_for_space();
            }
            // Taken whether or not the group has room for them.
            let operations = group.iter().map(|draft: &Draft| draft.operations.len()).sum();
            let own: Vec<_> = steps.by_ref().take(operations).collect();
            let outcome = self.submit(bytes, sync, count, |commits, first_seq| {
                join(commits, first_seq, group, own.into_iter());
            });
            if outcomes.is_empty() && drafts.peek().is_none() {
                return outcome;
            }
            outcomes.extend(outcome);
        }
    }
}

impl Prepared<'_> {
    /// Of operations on the same key from `first` on, keeps the last.
    fn keep_last(&mut self, first: usize) {
        let own = self.hashes.get(first..).unwrap_or_default();
        if own.len() < 2 {
            return;
        }
        let mut order: Vec<u64> = own.iter().map(|hash| hash.place).collect();
        order.sort_unstable();
        if !order.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return;
        }
        let operations = self.operations.split_off(first);
        let hashes = self.hashes.split_off(first);
        let mut seen = HashSet::new();
        let kept: Vec<bool> = operations.iter().rev().map(|it| seen.insert(it.key())).collect();
        for ((operation, hash), kept) in operations.into_iter().zip(hashes).zip(kept.iter().rev()) {
            if *kept {
                self.operations.push(operation);
                self.hashes.push(hash);
            }
        }
    }
}

/// Adds drafts, one behind the other, to a group in which there may be those of others.
fn join<'a>(
    commits: &mut Commits,
    first_seq: u64,
    drafts: Vec<Draft>,
    mut steps: impl Iterator<Item = (Operation<'a>, Look)>,
) {
    for (index, (seq, draft)) in (first_seq..).zip(drafts).enumerate() {
        let own = steps.by_ref().take(draft.operations.len());
        match draft.failed {
            None => commits.join(seq, own, draft.checks, draft.sync),
            Some(error) => {
                own.for_each(drop);
                commits.join_failed(seq, error);
            }
        }
        // What is before the first of them in the group is of somebody else.
        if draft.chained && index > 0 {
            commits.chain();
        }
    }
}

/// Whether what follows a write in a chain is to be skipped.
fn is_broken(outcome: Option<&Result<Written>>) -> bool {
    outcome.is_some_and(|outcome| outcome.as_ref().is_err_and(KvsError::ends_chain))
}

fn check_expiries(batch: &Batch, now_ms: u64) -> Result<()> {
    for operation in batch.iter() {
        if let Operation::Set { expires_at_ms: Some(expires_at_ms), .. } = operation {
            check_expiry(expires_at_ms, now_ms)?;
        }
    }
    Ok(())
}

/// Refuses what would expire in the past, or later than anything can.
pub(crate) fn check_expiry(expires_at_ms: u64, now_ms: u64) -> Result<()> {
    match expires_at_ms > now_ms && expires_at_ms <= EXPIRES_AT_MS_MAX {
        true => Ok(()),
        false => Err(KvsError::InvalidExpiry { expires_at_ms, now_ms }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Commits, Draft, KvsError, join};

    fn draft() -> Draft {
        let failed = Some(KvsError::Skipped);
        Draft {
            operations: 0..0,
            checks: None,
            bytes: 0,
            has_sets: false,
            sync: false,
            chained: true,
            failed,
        }
    }

    #[test]
    fn a_chain_does_not_go_on_from_the_writes_of_others() {
        let mut group = Commits::default();
        for seq in [1, 3] {
            join(&mut group, seq, vec![draft(), draft()], std::iter::empty());
        }
        let chained: Vec<bool> = group.requests.iter().map(|request| request.chained).collect();
        assert_eq!(chained, [false, true, false, true]);
    }
}
