//! The tests can fail: each bug that is seeded in the engine is caught by a check of this suite.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::crash::crash_everywhere;
use super::observed::{OBSERVED, RETAINED, observe_everywhere};
use super::proof::{Checked, prove};
use super::reader::read_everywhere;
use super::retained::retain;
use super::torn_batch::cut_everywhere;
use super::workload::{COMPACTING, SMALL};
use super::{backups, expiry, named, reader, reader_backups, sequences, snapshots, watches};
use crate::store::bug;

/// A check over one seed.
type Check = fn(u64) -> Checked<u64>;

/// How many seeds a check may need.
const SEEDS: u64 = 40;

/// Runs a test as a check.
macro_rules! test {
    ($test:path) => {
        |_| {
            $test();
            Ok(1)
        }
    };
}

/// Each bug, with checks of which each must catch it.
const BUGS: [(&str, &[Check]); 46] = [
    (
        "acknowledge_before_sync",
        &[
            |seed| crash_everywhere(SMALL, seed),
            test!(sequences::what_was_acknowledged_as_durable_survives),
        ],
    ),
    (
        "backup_forgets_retired",
        &[test!(backups::what_is_compacted_while_it_is_backed_up_is_copied)],
    ),
    (
        "backup_keeps_by_length",
        &[test!(reader_backups::what_the_store_has_lost_is_not_taken_for_what_it_wrote_instead)],
    ),
    (
        "backup_keeps_by_name",
        &[test!(backups::a_backup_is_brought_up_to_date_and_shares_what_does_not_change)],
    ),
    (
        "backup_links_unproven",
        &[test!(reader_backups::what_was_sealed_but_may_not_be_durable_gets_no_second_name)],
    ),
    (
        "backup_shortens",
        &[
            |seed| observe_everywhere(OBSERVED, seed),
            test!(reader_backups::a_crash_in_a_backup_of_an_earlier_state_leaves_one_or_the_other),
        ],
    ),
    (
        "backup_unpublished",
        &[test!(watches::what_was_never_published_is_in_no_watch_and_in_no_backup)],
    ),
    (
        "backup_without_sync",
        &[
            |seed| observe_everywhere(OBSERVED, seed),
            test!(backups::a_crash_in_a_backup_leaves_the_one_before_or_the_new_one),
        ],
    ),
    ("batch_without_end", &[|seed| cut_everywhere(seed, 5)]),
    ("constant_salt", &[test!(sequences::a_block_of_another_segment_is_damage)]),
    ("copy_without_seq", &[test!(named::a_copy_is_as_old_as_its_original)]),
    ("count_gaps_as_writes", &[retain]),
    (
        "drop_before_log_sync",
        &[
            |seed| crash_everywhere(COMPACTING, seed),
            test!(sequences::a_durable_set_goes_only_when_what_killed_it_is_durable),
        ],
    ),
    ("drop_expired", &[test!(expiry::a_set_that_expired_is_a_tombstone_for_the_one_before)]),
    (
        "drop_tombstones",
        &[
            |seed| crash_everywhere(COMPACTING, seed),
            test!(named::a_tombstone_outlives_the_older_set_in_another_segment),
        ],
    ),
    ("floor_after_notice", &[test!(reader_backups::a_backup_has_every_write_up_to_its_seq)]),
    (
        "forget_compacted_seq",
        &[
            |seed| observe_everywhere(OBSERVED, seed),
            test!(watches::what_compaction_went_through_is_gone_and_that_is_said),
        ],
    ),
    ("forget_retained", &[retain, |seed| observe_everywhere(RETAINED, seed)]),
    ("forget_the_past", &[test!(snapshots::what_a_snapshot_sees_outlives_its_compaction)]),
    (
        "forget_too_early",
        &[
            |seed| observe_everywhere(OBSERVED, seed),
            test!(snapshots::the_end_of_one_snapshot_takes_nothing_from_the_others),
        ],
    ),
    ("ignore_marks_beyond", &[test!(sequences::damage_below_a_mark_is_no_torn_tail)]),
    ("ignore_snapshots", &[test!(snapshots::what_a_snapshot_sees_outlives_its_compaction)]),
    ("late_horizon", &[test!(expiry::time_does_not_go_back_when_a_horizon_comes_late)]),
    ("move_unconditionally", &[test!(named::a_set_during_a_compaction_is_not_undone_by_it)]),
    ("no_clock_floor", &[test!(expiry::nothing_is_seen_to_expire_before_the_disk_knows_the_time)]),
    ("no_seq_reserve", &[test!(sequences::a_seq_is_given_once_even_if_its_write_is_lost)]),
    (
        "order_by_file",
        &[
            |seed| crash_everywhere(COMPACTING, seed),
            test!(named::a_set_in_a_lower_file_than_a_copy_of_an_older_one_counts),
        ],
    ),
    (
        "post_after_manifest",
        &[
            |seed| read_everywhere(COMPACTING, seed),
            test!(reader::a_record_is_dropped_only_when_others_may_read_what_killed_it),
        ],
    ),
    ("post_before_sync", &[test!(reader::what_failed_to_become_durable_is_not_for_others_to_read)]),
    ("publish_before_sync", &[test!(sequences::after_a_failed_sync_nothing_is_acknowledged)]),
    ("reader_ignores_notice", &[test!(reader::a_reader_reads_no_further_than_the_owner_says)]),
    (
        "restore_beyond_seq",
        &[test!(backups::a_crash_in_a_backup_leaves_the_one_before_or_the_new_one)],
    ),
    ("restore_ignores_floor", &[test!(backups::every_seq_that_is_kept_can_be_restored)]),
    ("retry_failed_sync", &[test!(sequences::after_a_failed_sync_nothing_is_acknowledged)]),
    (
        "rotate_without_sync",
        &[
            |seed| crash_everywhere(SMALL, seed),
            test!(sequences::a_durable_write_has_no_hole_before_it),
        ],
    ),
    ("skip_directory_sync", &[|seed| crash_everywhere(COMPACTING, seed)]),
    (
        "skip_output_directory_sync",
        &[
            |seed| crash_everywhere(COMPACTING, seed),
            test!(sequences::a_manifest_names_nothing_whose_name_is_not_durable),
        ],
    ),
    ("snapshot_sees_later", &[test!(snapshots::a_snapshot_stays_as_it_is)]),
    ("trust_hint", &[test!(named::a_hint_with_a_flipped_bit_loses_no_key)]),
    ("unlink_before_index", &[test!(sequences::a_key_moves_before_its_old_segment_goes)]),
    ("unlink_before_manifest", &[|seed| crash_everywhere(COMPACTING, seed)]),
    ("unlink_while_read", &[test!(sequences::a_segment_stays_as_long_as_somebody_reads_it)]),
    (
        "unreadable_is_another_key",
        &[test!(sequences::a_record_that_cannot_be_read_is_not_another_key)],
    ),
    (
        "watch_from_compacted",
        &[test!(watches::a_watch_from_now_on_begins_behind_what_was_compacted)],
    ),
    (
        "watch_skips_the_end",
        &[
            |seed| observe_everywhere(OBSERVED, seed),
            test!(watches::a_watch_sees_everything_in_order_from_any_seq_on),
        ],
    ),
    (
        "watch_unpublished",
        &[test!(watches::what_was_never_published_is_in_no_watch_and_in_no_backup)],
    ),
];

/// Whether a check notices the bug with one of its seeds.
fn catches(check: Check, name: &'static str, first: u64) -> bool {
    (first..first + SEEDS).any(|seed| {
        let checked = catch_unwind(AssertUnwindSafe(|| bug::with(name, || check(seed))));
        !matches!(checked, Ok(Ok(_)))
    })
}

#[test]
fn every_seeded_bug_is_caught() {
    prove("P21 seeded bugs", BUGS.len() as u64, |seed| {
        let mut missed = Vec::new();
        for (name, checks) in BUGS {
            let checks = checks.iter().enumerate();
            let missing = checks.filter(|(_, check)| !catches(**check, name, seed));
            missed.extend(missing.map(|(index, _)| format!("{name} (check {index})")));
        }
        if !missed.is_empty() {
            return Err(format!("not caught: {missed:?}"));
        }
        Ok(BUGS.len() as u64)
    });
}

/// No bug is seeded that this suite knows nothing of.
#[test]
fn every_seeded_bug_is_in_the_table() {
    let mut seeded = Vec::new();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    for entry in fs::read_dir(engine).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let names = text.split("kvs_bug!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            seeded.extend(names.map(str::to_owned));
        }
    }
    seeded.sort_unstable();
    seeded.dedup();
    // This one shows only between threads: the model checks of `shuttled` and `loomed` catch it.
    seeded.retain(|name| name != "ignore_pins");
    assert_eq!(seeded, BUGS.map(|(name, _)| name));
}
