//! A segment as the models need it: the keys of its records, and whether its file is gone.

use std::path::PathBuf;

use super::names::SegmentId;
use super::sync::{AtomicBool, AtomicU64};

pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) number: u16,
    pub(crate) path: PathBuf,
    pub(crate) file_bytes: AtomicU64,
    /// By offset in units of 8 bytes, from offset 16 on.
    pub(crate) keys: Vec<u64>,
    pub(crate) unlinked: AtomicBool,
}

impl Segment {
    /// No snapshot is in it: the models have none.
    pub(crate) fn is_pinned(&self) -> bool {
        false
    }
}
