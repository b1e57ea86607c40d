//! What goes to the log where reading or writing failed: with file and place, which clients are not
//! told. Not every time: a broken disk fails for each request, and its log may be on the same disk.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tracing::warn;

use super::shared::unix_time;
use crate::error::KvsError;

/// The most lines of a second.
const LINES_MAX: u64 = 10;
/// The most bytes of a key that are logged.
const KEY_BYTES_MAX: usize = 128;

/// The second that the last line is of, and how many failures it has had.
struct Window {
    second: AtomicU64,
    failures: AtomicU64,
}

static WINDOW: Window = Window::new();

/// Logs an error that came with some keys, unless it is one that only the request is to blame for.
pub(crate) fn note(error: &KvsError, keys: impl FnOnce(&mut Vec<Bytes>)) {
    if is_of_request(error) || !WINDOW.has_room(unix_time().as_secs()) {
        return;
    }
    let mut all = Vec::new();
    keys(&mut all);
    match all.first() {
        Some(key) => {
            let key = key.get(..KEY_BYTES_MAX).unwrap_or(key).escape_ascii();
            warn!(%key, keys = all.len(), "a command failed: {error}");
        }
        None => warn!("a command failed: {error}"),
    }
}

impl Window {
    const fn new() -> Window {
        Window { second: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// Whether one more line can be written in that second. Threads that see a new one at once may
    /// write a few lines too many.
    fn has_room(&self, now_s: u64) -> bool {
        if self.second.swap(now_s, Ordering::Relaxed) != now_s {
            let left_out = self.failures.swap(0, Ordering::Relaxed).saturating_sub(LINES_MAX);
            if left_out > 0 {
                warn!("{left_out} more commands failed");
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed) < LINES_MAX
    }
}

fn is_of_request(error: &KvsError) -> bool {
    matches!(
        error,
        KvsError::KeyTooLarge { .. }
            | KvsError::ValueTooLarge { .. }
            | KvsError::BatchTooLarge { .. }
            | KvsError::AnswerTooLarge { .. }
            | KvsError::InvalidExpiry { .. }
            | KvsError::InvalidCursor { .. }
            | KvsError::PreconditionFailed { .. }
            | KvsError::Unsupported { .. }
            | KvsError::Closed
    )
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, Window};

    #[test]
    fn a_second_has_so_many_lines() {
        let window = Window::new();
        let lines = |second| (0..1000).filter(|_| window.has_room(second)).count() as u64;
        assert_eq!([lines(1), lines(1), lines(2)], [LINES_MAX, 0, LINES_MAX]);
    }
}
