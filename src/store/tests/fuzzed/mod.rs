//! Targets for fuzzers that need the simulated disk.

mod files;
mod operations;

pub use files::files;
pub use operations::operations;
