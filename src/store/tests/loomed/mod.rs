//! The smallest of the lock-free files once more, compiled against loom: all executions of two
//! threads, with everything that the memory model of the language lets them see.
//!
//! Where the engine uses the pair of a light and a heavy barrier, both are full fences here, as
//! on a kernel without `membarrier`.

mod sync;

#[path = "../../pins.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
mod pins;
#[path = "../../queue.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
mod queue;

mod handover;
mod retirement;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::bug;

/// Asserts that `body` fails in some execution when that bug is there.
fn catches(name: &'static str, body: fn()) {
    let caught = bug::with(name, || catch_unwind(AssertUnwindSafe(|| loom::model(body))).is_err());
    assert!(caught, "the bug {name} was not caught");
}
