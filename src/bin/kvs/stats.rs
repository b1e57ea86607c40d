//! `kvs stats`: how much is alive, how much is dead, and a picture of the segments.

use std::fmt::Write;
use std::path::Path;

use indicatif::{BinaryBytes, HumanCount};
use kvs::{SegmentStats, Stats};
use serde::Serialize;

use crate::failure::Failure;
use crate::{open, output};

const BAR_COLUMNS: u64 = 40;

/// Show how much space the store takes, and what for
///
/// Prints a table and one bar per segment; the longest bar is the largest segment. Live bytes are
/// whole records that a key leads to, dead bytes the records that compaction will drop. The log
/// grows in the active segment. Works beside a process that has the store open, and changes
/// nothing. Makes no store.
///
/// What that process alone knows is not in it: its syncs, groups of writes, compactions, retained
/// bytes. A server tells them in its metrics.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs --dir data stats\n  kvs --dir data stats --json | jq \
                        .live_keys")]
pub struct Args {
    /// Print a JSON object; sizes are in bytes
    #[arg(long)]
    json: bool,
}

/// Prints the figures.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let store = open::to_read(dir)?;
    let stats = store.stats();
    let text = if args.json { json(&stats)? } else { text(&stats) };
    output::print(text.as_bytes())
}

fn text(stats: &Stats) -> String {
    let size = |bytes| BinaryBytes(bytes).to_string();
    let mut segment_files = size(stats.segment_file_bytes);
    if stats.live_bytes > 0 {
        // Writing to a string cannot fail.
        let _ = write!(segment_files, ", {:.2} x live", stats.space_amplification);
    }
    let mut rows = vec![
        ("keys", HumanCount(stats.live_keys).to_string()),
        ("live", size(stats.live_bytes)),
        ("dead", size(stats.dead_bytes)),
        ("segment files", segment_files),
        ("all files", size(stats.disk_bytes)),
        ("index in memory", size(stats.keydir_bytes)),
    ];
    if stats.expiring_keys > 0 {
        rows.insert(1, ("of them expire", HumanCount(stats.expiring_keys).to_string()));
    }
    let open_us = stats.open_us;
    rows.push(("opened in", format!("{}.{:03} ms", open_us / 1000, open_us % 1000)));
    if stats.recovered_bytes > 0 {
        rows.push(("not proven durable", size(stats.recovered_bytes)));
    }
    if stats.truncated_bytes > 0 {
        rows.push(("torn tail", size(stats.truncated_bytes)));
    }
    if let Some(error) = &stats.last_background_error {
        rows.push(("background error", error.to_string()));
    }
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<18} {value}");
    }
    text.push_str(&picture(&stats.segments));
    text
}

/// One bar per segment.
fn picture(segments: &[SegmentStats]) -> String {
    let Some(largest) = segments.iter().map(|segment| segment.file_bytes).max() else {
        return String::new();
    };
    let mut text = String::from("\nsegments: # live, - dead, . neither\n");
    for segment in segments {
        let state = match (segment.sealed, segment.hinted) {
            (false, _) => "active",
            (true, false) => "sealed, no hint",
            (true, true) => "sealed",
        };
        let bar = bar(segment.file_bytes, segment.live_bytes, segment.dead_bytes, largest);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>10} |{bar}| {:>11} {:>3} % live, {state}",
            segment.id,
            BinaryBytes(segment.file_bytes).to_string(),
            percent(segment.live_bytes, segment.file_bytes),
        );
    }
    text
}

/// A bar of `BAR_COLUMNS` columns for a segment, to the scale of the largest one.
fn bar(file: u64, live: u64, dead: u64, largest: u64) -> String {
    let columns = |bytes: u64| {
        let share = u128::from(bytes) * u128::from(BAR_COLUMNS);
        let rounded = share.div_ceil(u128::from(largest.max(1)));
        usize::try_from(rounded).unwrap_or_default()
    };
    let full = columns(file);
    let live = columns(live).min(full);
    let dead = columns(dead).min(full - live);
    let neither = full - live - dead;
    let drawn = ["#".repeat(live), "-".repeat(dead), ".".repeat(neither)].concat();
    format!("{drawn:<width$}", width = columns(largest.max(1)))
}

/// The share in percent, rounded down: 100 only where there is nothing else.
fn percent(part: u64, whole: u64) -> u128 {
    u128::from(part) * 100 / u128::from(whole.max(1))
}

#[derive(Serialize)]
struct StatsJson {
    live_keys: u64,
    expiring_keys: u64,
    live_bytes: u64,
    dead_bytes: u64,
    segment_file_bytes: u64,
    disk_bytes: u64,
    space_amplification: f64,
    keydir_bytes: u64,
    open_us: u64,
    recovered_bytes: u64,
    truncated_bytes: u64,
    last_background_error: Option<String>,
    segments: Vec<SegmentJson>,
}

#[derive(Serialize)]
struct SegmentJson {
    id: u64,
    file_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    sealed: bool,
    active: bool,
    hinted: bool,
}

fn json(stats: &Stats) -> Result<String, Failure> {
    let segments = stats.segments.iter().map(|segment| SegmentJson {
        id: segment.id,
        file_bytes: segment.file_bytes,
        live_bytes: segment.live_bytes,
        dead_bytes: segment.dead_bytes,
        sealed: segment.sealed,
        active: segment.active,
        hinted: segment.hinted,
    });
    let stats = StatsJson {
        live_keys: stats.live_keys,
        expiring_keys: stats.expiring_keys,
        live_bytes: stats.live_bytes,
        dead_bytes: stats.dead_bytes,
        segment_file_bytes: stats.segment_file_bytes,
        disk_bytes: stats.disk_bytes,
        space_amplification: stats.space_amplification,
        keydir_bytes: stats.keydir_bytes,
        open_us: stats.open_us,
        recovered_bytes: stats.recovered_bytes,
        truncated_bytes: stats.truncated_bytes,
        last_background_error: stats.last_background_error.as_ref().map(ToString::to_string),
        segments: segments.collect(),
    };
    let mut text = serde_json::to_string_pretty(&stats)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{bar, percent};

    #[test]
    fn a_bar_shows_every_part_that_is_there() {
        assert_eq!(bar(100, 100, 0, 100), "#".repeat(40));
        assert_eq!(bar(100, 50, 25, 100), "#".repeat(20) + &"-".repeat(10) + &".".repeat(10));
        assert_eq!(bar(50, 25, 25, 100), "#".repeat(10) + &"-".repeat(10) + &" ".repeat(20));
        assert!(bar(1000, 1, 999, 1000).starts_with("#-"));
        assert_eq!(bar(0, 0, 0, 0).trim(), "");
        let huge = u64::MAX;
        assert_eq!(bar(huge, huge, huge, huge).len(), 40);
    }

    #[test]
    fn percent_rounds_down() {
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(0, 0)), (99, 100, 0));
    }
}
