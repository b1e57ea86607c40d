//! What an engine asks of a batch before it applies it.

use std::collections::HashMap;

use super::Write;
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::store::{Written, check_expiry};

/// Refuses a batch that is over a limit, or with an expiry that cannot be.
pub(super) fn check_limits(batch: &Batch, now_ms: u64) -> Result<()> {
    batch.check()?;
    batch.iter().try_for_each(|operation| match operation {
        Operation::Set { expires_at_ms: Some(at_ms), .. } => check_expiry(at_ms, now_ms),
        _ => Ok(()),
    })
}

/// Refuses a batch whose requirements do not hold. `is_met` says of each whether it does.
pub(super) fn check_requirements(
    batch: &Batch,
    mut is_met: impl FnMut(&crate::Requirement) -> Result<bool>,
) -> Result<()> {
    for (requirement, required) in batch.requirements().iter().enumerate() {
        if !is_met(required)? {
            let key = required.key.clone();
            return Err(KvsError::PreconditionFailed { requirement, key });
        }
    }
    Ok(())
}

/// Applies writes in their order, but for those of a chain that a refused one has ended.
pub(super) fn apply_each(
    writes: &[Write],
    mut apply: impl FnMut(&Write) -> Result<Written>,
) -> Vec<Result<Written>> {
    let mut outcomes: Vec<Result<Written>> = Vec::with_capacity(writes.len());
    for write in writes {
        let last = outcomes.last().and_then(|outcome| outcome.as_ref().err());
        let is_over = last.is_some_and(KvsError::ends_chain);
        outcomes.push(if write.chained && is_over { Err(KvsError::Skipped) } else { apply(write) });
    }
    outcomes
}

/// The operations of a batch, of those on one key only the last.
pub(super) fn last_operations(batch: &Batch) -> Vec<Operation<'_>> {
    let operations: Vec<Operation<'_>> = batch.iter().collect();
    if operations.len() < 2 {
        return operations;
    }
    let last: HashMap<&[u8], usize> =
        operations.iter().enumerate().map(|(number, it)| (it.key(), number)).collect();
    let is_last = |(number, it): &(usize, Operation<'_>)| last.get(it.key()) == Some(number);
    operations.into_iter().enumerate().filter(is_last).map(|(_, it)| it).collect()
}
