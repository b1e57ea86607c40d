//! What a write depends on: decided by the leader of its group, in its turn, so that every write
//! that was queued before is seen.

use std::collections::HashMap;

use super::clock::Moment;
use super::core::Core;
use super::group::{Check, Pending};
use super::hash::KeyHash;
use super::record::{Record, Unverified};
use crate::batch::Requirement;
use crate::error::Result;

/// The state of a key: seq and value; none if it is absent.
type State<'a> = Option<(u64, &'a [u8])>;

impl Core {
    /// The number of the first check that does not hold; none if all do. `bytes`, `operations` and
    /// `last` are the group so far.
    pub(crate) fn refusing(
        &self,
        bytes: &[u8],
        operations: &[Pending],
        checks: &[Check],
        last: &HashMap<u64, usize>,
        moment: &Moment<'_>,
    ) -> Result<Option<usize>> {
        for (number, Check { requirement, hash }) in checks.iter().enumerate() {
            let key = &requirement.key;
            let holds = match earlier(bytes, operations, last, key, *hash) {
                Some((_, earlier)) => holds(requirement, state_after(bytes, earlier, moment)),
                None => {
                    let found = self.with_current(key, *hash, |current| {
                        let is_there = !moment.is_over(current.expires_at_ms);
                        holds(requirement, is_there.then_some((current.seq, current.value)))
                    })?;
                    found.unwrap_or_else(|| holds(requirement, None))
                }
            };
            if !holds {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

/// What a key is after an operation that is on its way.
fn state_after<'a>(bytes: &'a [u8], operation: &Pending, moment: &Moment<'_>) -> State<'a> {
    let unverified = Unverified::new(bytes.get(operation.record.clone())?).ok()?;
    match unverified.decode().ok()? {
        Record::Set { seq, expires_at_ms, value, .. } if !moment.is_over(expires_at_ms) => {
            Some((seq, value))
        }
        _ => None,
    }
}

fn holds(requirement: &Requirement, state: State<'_>) -> bool {
    requirement.expected.is_met_by(state)
}

/// The last operation of the group on a key, with its number, if there was one.
pub(crate) fn earlier<'o>(
    bytes: &[u8],
    operations: &'o [Pending],
    last: &HashMap<u64, usize>,
    key: &[u8],
    hash: KeyHash,
) -> Option<(usize, &'o Pending)> {
    let index = *last.get(&hash.place)?;
    let operation = operations.get(index)?;
    (bytes.get(operation.key.clone()) == Some(key)).then_some((index, operation))
}
