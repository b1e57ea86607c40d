//! What reading needs, side by side: of a store that this process owns, or of one that it only
//! looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock::Time;
use super::hash::Hasher;
use super::keydir::Keydir;
use super::pins::Pins;
use super::segment::Shelf;
use super::segments::Segments;
use crate::error::{KvsError, Result};

pub(crate) struct View {
    pub(crate) shelf: Shelf,
    pub(crate) hasher: Hasher,
    pub(crate) time: Time,
    pub(crate) pins: Pins,
    pub(crate) segments: Segments,
    pub(crate) keydir: Keydir,
    /// Whether nothing may be read any more.
    pub(crate) closed: AtomicBool,
}

/// Something with a view that an iteration keeps alive.
pub(crate) type Viewed = Arc<dyn AsRef<View> + Send + Sync>;

impl View {
    /// Answers with an error if nothing may be read.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) { Err(KvsError::Closed) } else { Ok(()) }
    }
}

impl AsRef<View> for View {
    fn as_ref(&self) -> &View {
        self
    }
}
