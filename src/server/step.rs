//! A step: one command on keys and values, split into what it reads and what it makes of that.
//!
//! A step does no I/O and knows no engine. Who executes steps reads the keys of many of them with
//! one call, lets each decide, writes what they decided with one call, and, for a step that both
//! reads and writes, requires that what it read is still so; if it is not, the step is decided
//! anew. A transaction is several steps decided one after the other into one batch.

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::KvsError;
use crate::options::Durability;
use crate::store::{Versioned, Written};

/// One command on keys and values.
pub(crate) trait Step: Send + Sync {
    /// Where its reply goes.
    type Replies: Replies;

    /// The keys whose values it needs to decide, in an order of its own.
    fn reads(&self, keys: &mut Vec<Bytes>);

    /// The keys that it may write, so that no later step is decided on what was before. A step
    /// that writes nothing, whatever it reads, names none.
    fn writes(&self, keys: &mut Vec<Bytes>);

    /// What it needs of what it reads.
    fn needs(&self) -> Needs {
        Needs::Values
    }

    /// How many bytes the value has that it makes of what it reads, if it makes one. What it was
    /// given whole does not count.
    fn made_bytes(&self, _read: &[Option<Versioned>]) -> usize {
        0
    }

    /// Decides: puts what is to be written into the batch, and the reply behind the others. What it
    /// reads is in the order of `reads`. It may be called again with other values: then its
    /// earlier reply and batch are gone. It requires nothing of the keys that it reads; whoever
    /// executes it does.
    fn decide(
        &self,
        read: &[Option<Versioned>],
        now_ms: u64,
        batch: &mut Batch,
        replies: &mut Self::Replies,
    );

    /// Completes its reply, which `decide` made and which is all of `reply`, with what became of
    /// its write. It may change bytes, but not their number. Not called if nothing was written.
    fn complete(&self, _written: Written, _reply: &mut [u8]) {}

    /// The reply where reading or writing failed. That a requirement which `decide` put into the
    /// batch itself does not hold is such a failure; its index is then below the number of those.
    fn fail(&self, error: &KvsError, replies: &mut Self::Replies);

    /// How durable its write is to be when its reply leaves; none: as the engine was opened.
    fn durability(&self) -> Option<Durability> {
        None
    }
}

/// What a step needs of the keys that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Versions and expiries: values may be left empty.
    Versions,
    /// Values, of no more than two keys.
    Values,
    /// The values of any number of keys, which are its answer. Where they have more bytes together
    /// than this, or than fit a connection, it fails with [`KvsError::AnswerTooLarge`].
    Answer { bytes_max: usize },
}

/// Replies, encoded one behind the other.
pub(crate) trait Replies: Send {
    /// The bytes so far.
    fn bytes(&mut self) -> &mut Vec<u8>;
}
