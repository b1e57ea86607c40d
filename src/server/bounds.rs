//! What is kept to while steps are executed.

use bytes::Bytes;

use super::config::Config;
use super::turns::{Turn, Turns};
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::options::VALUE_BYTES_MAX;

/// How often a step is refused before it takes its turn.
const LOSSES_MAX: u32 = 4;

/// What is kept to while steps are executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'t> {
    /// Nothing more is executed when replies have so many bytes, those from before included.
    pub(crate) reply_bytes_max: usize,
    /// The most bytes of values that are read to be answered with.
    pub(crate) answer_bytes_max: usize,
    /// The longest key and the longest value that are written.
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
    /// Where those that were refused too often take their turns; none: they do not.
    turns: Option<&'t Turns>,
}

impl<'t> Bounds<'t> {
    /// Those of a configuration, with so many bytes of replies.
    pub(crate) fn new(config: &Config, reply_bytes_max: usize) -> Bounds<'t> {
        let Config { key_bytes_max, value_bytes_max, .. } = *config;
        let answer_bytes_max = config.output_bytes_per_connection_max;
        Bounds { reply_bytes_max, answer_bytes_max, key_bytes_max, value_bytes_max, turns: None }
    }

    /// With the turns of a server.
    pub(crate) fn with_turns(self, turns: &'t Turns) -> Bounds<'t> {
        Bounds { turns: Some(turns), ..self }
    }

    /// Waits until those have written who are to write these keys first, unless this has a turn
    /// already.
    pub(super) async fn take_turn<'k>(
        &self,
        turn: &mut Option<Turn<'t>>,
        keys: impl Iterator<Item = &'k Bytes>,
        losses: u32,
    ) {
        let has_lost = losses >= LOSSES_MAX;
        match (turn, self.turns) {
            (Some(turn), Some(turns)) if has_lost => turn.lose(turns),
            (turn @ None, Some(turns)) => *turn = turns.take(keys, has_lost).await,
            _ => {}
        }
    }

    /// Refuses to make a value that is too long. One that is longer than any can be has an error of
    /// its own.
    pub(super) fn check_made(&self, bytes: usize) -> Result<()> {
        let limit = self.value_bytes_max;
        match bytes > limit && bytes <= VALUE_BYTES_MAX {
            true => Err(KvsError::ValueTooLarge { bytes, limit }),
            false => Ok(()),
        }
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
