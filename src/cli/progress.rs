//! Progress bars: on standard error, and only where that is a terminal.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};

const BYTES: &str = "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} \
                     {binary_bytes_per_sec} {eta} left {msg}";
const BYTES_OF_UNKNOWN: &str = "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec} {msg}";
const RECORDS: &str = "{prefix} {wide_bar} {human_pos}/{human_len} records {rate} {eta} left";

/// A bar that goes away when it is dropped, before the result or the error is printed.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that counts bytes; a spinner while their number is not known.
    pub fn bytes(doing: &'static str, total: Option<u64>) -> Bar {
        let template = if total.is_some() { BYTES } else { BYTES_OF_UNKNOWN };
        Bar::new(doing, total, template)
    }

    /// A bar that counts records.
    pub fn records(doing: &'static str, total: u64) -> Bar {
        Bar::new(doing, Some(total), RECORDS)
    }

    fn new(doing: &'static str, total: Option<u64>, template: &str) -> Bar {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target)
            .with_prefix(doing)
            .with_finish(ProgressFinish::AndClear);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                // Where it cannot be written, the bar is shown without it.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            }));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Bar(bar)
    }

    /// How far it has come.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    /// How far it has come, and of how much.
    pub fn set_of(&self, position: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(position);
    }

    /// A few words behind the figures.
    pub fn say(&self, words: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_message(words());
        }
    }

    /// Whether nobody sees it.
    pub fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
