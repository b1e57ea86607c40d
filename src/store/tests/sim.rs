//! Tests of the simulated disk itself: it is like a real one where nothing fails, deterministic,
//! and able to lose everything that a real one may lose.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::proof::{Checked, prove};
use crate::store::disk::{Access, Disk, DiskFile, read_full_at, write_all_at};
use crate::store::real_disk::RealDisk;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Fill, Keep, Length};
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};
use crate::store::sim_disk::state::Rng;

/// A few random calls on names and contents; what each of them answered.
fn random_calls(disk: &dyn Disk, root: &Path, seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut open: Vec<Arc<dyn DiskFile>> = Vec::new();
    let mut answers = Vec::new();
    let name = |rng: &mut Rng| match rng.below(10) {
        0 => root.join("sub").join("x"),
        n => root.join(format!("file-{}", n % 5)),
    };
    for _ in 0..150 {
        let at = rng.below(6000) as u64;
        let bytes = vec![u8::try_from(rng.below(255)).unwrap() + 1; rng.below(3000)];
        let path = name(&mut rng);
        let accesses = [Access::Read, Access::Write, Access::Create];
        let access = accesses[rng.below(3)];
        let answer = match rng.below(14) {
            0..=2 => disk.open(&path, access).map(|file| {
                open.push(file);
                0
            }),
            3 => disk.rename(&path, &path.with_file_name("file-0")).map(|()| 0),
            4 => disk.remove(&path).map(|()| 0),
            5 => disk.sync_dir(root).map(|()| 0),
            6 => disk.create_dir(&root.join("sub/low")).map(|()| 0),
            7 => disk.list(root).map(|names| names.len() as u64),
            _ if open.is_empty() => continue,
            choice => {
                let file = &open[rng.below(open.len())];
                match choice {
                    8 => file.set_len(at).map(|()| 0),
                    9 => file.allocate(at, 2000).map(|()| 0),
                    10 => file.sync_data().map(|()| 0),
                    11 => file.len(),
                    12 => {
                        let mut buffer = vec![0; 4000];
                        let read = read_full_at(&**file, &mut buffer, at);
                        read.map(|n| buffer[..n].iter().map(|byte| u64::from(*byte)).sum())
                    }
                    _ => write_all_at(&**file, &bytes, at).map(|()| 0),
                }
            }
        };
        answers.push(format!("{:?}", answer.map_err(|error| error.kind())));
    }
    answers
}

fn contents_of(disk: &dyn Disk, directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in disk.list(directory).unwrap() {
        let path = directory.join(name);
        let Ok(file) = disk.open(&path, Access::Read) else { continue };
        let mut bytes = vec![0; 1 << 16];
        let Ok(len) = read_full_at(&*file, &mut bytes, 0) else { continue };
        assert_eq!(file.len().unwrap(), len as u64);
        bytes.truncate(len);
        found.push((PathBuf::from(path.file_name().unwrap()), bytes));
    }
    found.sort();
    found
}

fn same_as_real(seed: u64) -> Checked<u64> {
    let real_root = tempfile::tempdir().unwrap();
    let sim = SimDisk::new();
    let sim_root = Path::new("/data");
    sim.create_dir(sim_root).unwrap();
    let real_answers = random_calls(&RealDisk, real_root.path(), seed);
    let sim_answers = random_calls(&sim, sim_root, seed);
    if let Some(at) = (0..real_answers.len()).find(|at| real_answers[*at] != sim_answers[*at]) {
        return Err(format!("call {at}: {} real, {}", real_answers[at], sim_answers[at]));
    }
    for sub in ["", "sub"] {
        let real = real_root.path().join(sub);
        if RealDisk.list(&real).is_ok()
            && contents_of(&RealDisk, &real) != contents_of(&sim, &sim_root.join(sub))
        {
            return Err("the contents differ".to_owned());
        }
    }
    Ok(1)
}

#[test]
fn the_simulated_disk_is_like_the_real_one() {
    prove("simulated disk", 300, same_as_real);
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    prove("simulated disk, repeated", 2_000, |seed| {
        let make = || {
            let disk = SimDisk::new();
            disk.record();
            random_calls(&disk, Path::new("/"), seed);
            let trace = disk.take_trace();
            let plans = CrashPlan::choose(disk.pending(), 40, &mut Rng::new(seed));
            let crashed =
                plans.iter().map(|plan| SimDisk::of(trace.crash_at(trace.len(), plan)).files());
            // A replay and the disk itself come to the same.
            for plan in &plans {
                assert_eq!(
                    trace.crash_at(trace.len(), plan).fingerprint(),
                    disk.crash(plan).fingerprint()
                );
            }
            crashed.collect::<Vec<_>>()
        };
        let first = make();
        if first != make() {
            return Err("two runs differ".to_owned());
        }
        Ok(first.len() as u64)
    });
}

const A: &str = "/a";
const B: &str = "/b";

/// A disk with an open file whose name is durable.
fn with_file(name: &str) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    let file = disk.open(Path::new(name), Access::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

/// What a file holds after crashes of one kind with many seeds.
fn outcomes(
    disk: &SimDisk,
    name: &str,
    keep: Keep,
    (length, fill): (Length, Fill),
) -> BTreeSet<Option<Vec<u8>>> {
    let plan = |seed| CrashPlan { keep, length, fill, seed };
    (0..300).map(|seed| disk.crash(&plan(seed)).bytes(Path::new(name))).collect()
}

fn certain(disk: &SimDisk, name: &str, keep: Keep) -> Option<Vec<u8>> {
    let outcomes = outcomes(disk, name, keep, (Length::OfData, Fill::Zeros));
    assert_eq!(outcomes.len(), 1, "{keep:?} leaves nothing to chance");
    outcomes.into_iter().next().unwrap()
}

#[test]
fn writes_are_lost_until_they_are_synced() {
    let (disk, file) = with_file(A);
    for (offset, byte) in [(0, b'x'), (1, b'y'), (2, b'z')] {
        write_all_at(&*file, &[byte], offset).unwrap();
    }
    let left = |keep| certain(&disk, A, keep).unwrap();
    assert_eq!(left(Keep::All), b"xyz");
    assert_eq!(left(Keep::Process), b"xyz");
    assert_eq!(left(Keep::Nothing), b"");
    assert_eq!(left(Keep::Prefix(2)), b"xy");
    assert_eq!(left(Keep::AllBut(0, 0)), b"\0yz");
    assert_eq!(left(Keep::AllBut(0, 1)), b"\0\0z");
    assert_eq!(left(Keep::Only(1, 1)), b"\0y");
    assert_eq!(left(Keep::Only(0, 2)), b"x\0z");
    let subsets = outcomes(&disk, A, Keep::Subset, (Length::OfData, Fill::Zeros));
    assert_eq!(subsets.len(), 8);
    file.sync_data().unwrap();
    assert_eq!(certain(&disk, A, Keep::Nothing).unwrap(), b"xyz");
    assert_eq!(disk.pending(), 0);
}

#[test]
fn the_death_of_the_process_leaves_changes_pending() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, b"x", 0).unwrap();
    let restarted = disk.crash(&CrashPlan::new(Keep::Process, 0));
    assert_eq!(restarted.bytes(Path::new(A)).unwrap(), b"x");
    assert_eq!(certain(&restarted, A, Keep::Nothing).unwrap(), b"");
    assert_eq!((disk.open_files(), restarted.open_files()), (1, 0));
}

#[test]
fn lengths_lag_behind_data_and_run_ahead_of_it() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, b"abc", 0).unwrap();
    write_all_at(&*file, b"def", 3).unwrap();
    let any = outcomes(&disk, A, Keep::All, (Length::Any, Fill::Zeros));
    let lengths: BTreeSet<usize> = any.iter().flatten().map(Vec::len).collect();
    assert_eq!(lengths, BTreeSet::from([0, 3, 6]));
    let ahead = outcomes(&disk, A, Keep::Nothing, (Length::Any, Fill::Zeros));
    assert!(ahead.contains(&Some(vec![0; 6])));
    let garbage = outcomes(&disk, A, Keep::Nothing, (Length::Any, Fill::Garbage));
    assert!(garbage.len() > 100, "garbage follows from the seed");
    let durable = outcomes(&disk, A, Keep::All, (Length::Durable, Fill::Zeros));
    assert_eq!(durable, BTreeSet::from([Some(Vec::new())]));
}

#[test]
fn writes_are_torn_at_sectors() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, &[b'x'; 2000], 100).unwrap();
    let torn = outcomes(&disk, A, Keep::TornOne(0, 512), (Length::OfData, Fill::Zeros));
    assert!(torn.len() >= 20, "{}", torn.len());
    for bytes in torn.into_iter().flatten() {
        for (sector, bytes) in bytes.chunks(512).enumerate() {
            let written = if sector == 0 { &bytes[bytes.len().min(100)..] } else { bytes };
            let same = written.iter().all(|byte| Some(byte) == written.first());
            // The write ends within its last sector.
            assert!(same || sector == 4, "torn within sector {sector}");
        }
    }
    let torn = outcomes(&disk, A, Keep::Torn(4096), (Length::OfData, Fill::Zeros));
    assert_eq!(torn.len(), 2);
}

#[test]
fn old_bytes_show_where_nothing_was_written() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, b"old bytes", 0).unwrap();
    drop(file);
    disk.remove(Path::new(A)).unwrap();
    let file = disk.open(Path::new(B), Access::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.allocate(0, 9).unwrap();
    let stale = outcomes(&disk, B, Keep::All, (Length::OfData, Fill::Stale));
    assert_eq!(stale, BTreeSet::from([Some(b"old bytes".to_vec())]));
    file.sync_all().unwrap();
    assert_eq!(certain(&disk, B, Keep::All).unwrap(), [0; 9], "synced zeros are zeros");
}

#[test]
fn names_are_lost_until_the_directory_is_synced() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, b"a", 0).unwrap();
    file.sync_all().unwrap();
    let other = disk.open(Path::new("/tmp"), Access::Create).unwrap();
    write_all_at(&*other, b"b", 0).unwrap();
    disk.rename(Path::new("/tmp"), Path::new(B)).unwrap();
    disk.remove(Path::new(A)).unwrap();
    // Pending: the name tmp, its data, the rename, the removal.
    assert_eq!(certain(&disk, A, Keep::Nothing).unwrap(), b"a", "a removal comes back");
    assert_eq!(certain(&disk, A, Keep::Only(3, 3)), None);
    assert_eq!(certain(&disk, B, Keep::Only(2, 2)).unwrap(), b"", "a rename before its data");
    assert_eq!(certain(&disk, "/tmp", Keep::AllBut(2, 2)).unwrap(), b"b", "no rename");
    assert_eq!(certain(&disk, "/tmp", Keep::All), None);
    other.sync_all().unwrap();
    assert_eq!(certain(&disk, B, Keep::Nothing), None, "synced data without a name");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(certain(&disk, B, Keep::Nothing).unwrap(), b"b");
    assert_eq!(certain(&disk, A, Keep::All), None);
}

#[test]
fn a_directory_is_lost_with_what_is_in_it() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    let file = disk.open(Path::new("/d/a"), Access::Create).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(certain(&disk, "/d/a", Keep::Nothing), None);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(certain(&disk, "/d/a", Keep::Nothing).unwrap(), b"");
}

#[test]
fn what_a_failed_sync_lost_is_readable_and_never_durable() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, b"old", 0).unwrap();
    file.sync_data().unwrap();
    write_all_at(&*file, b"new", 0).unwrap();
    let fault =
        Fault { kind: Some(CallKind::Sync), after: 0, failure: Failure::Eio, forever: false };
    disk.set_fault(fault);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
    file.sync_data().expect("the error is reported once");
    assert_eq!(disk.bytes(Path::new(A)).unwrap(), b"new");
    assert_eq!(certain(&disk, A, Keep::All).unwrap(), b"old");
    write_all_at(&*file, b"more", 3).unwrap();
    file.sync_data().unwrap();
    assert_eq!(certain(&disk, A, Keep::Nothing).unwrap(), b"oldmore");
    write_all_at(&*file, b"new", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(certain(&disk, A, Keep::Nothing).unwrap(), b"newmore", "written again it is");
}

#[test]
fn calls_fail_when_they_are_told_to() {
    let (disk, file) = with_file(A);
    let fault = |kind, after, failure, forever| {
        disk.clear_faults();
        disk.set_fault(Fault { kind, after, failure, forever });
    };
    fault(Some(CallKind::Write), 1, Failure::Eintr, false);
    assert_eq!(file.write_at(b"ab", 0).unwrap(), 2);
    assert_eq!(file.write_at(b"ab", 0).unwrap_err().raw_os_error(), Some(libc::EINTR));
    assert_eq!(file.write_at(b"ab", 0).unwrap(), 2);
    fault(Some(CallKind::Write), 0, Failure::Short, true);
    write_all_at(&*file, b"abcdefgh", 0).expect("short writes come to an end");
    assert_eq!(disk.bytes(Path::new(A)).unwrap(), b"abcdefgh");
    fault(None, 1, Failure::Emfile, true);
    file.set_len(4).unwrap();
    assert_eq!(disk.remove(Path::new(A)).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    assert_eq!(file.len().unwrap(), 4, "what changes nothing does not fail");
    disk.clear_faults();
    assert_eq!(disk.calls(Some(CallKind::Remove)), 1);
    disk.remove(Path::new(A)).unwrap();
}

#[test]
fn a_full_disk_writes_short_first() {
    let (disk, file) = with_file(A);
    disk.set_capacity(Some(10));
    assert_eq!(file.write_at(&[1; 16], 0).unwrap(), 10);
    assert_eq!(file.write_at(&[1; 6], 10).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(file.allocate(10, 1).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(
        disk.open(Path::new(B), Access::Create).err().unwrap().raw_os_error(),
        Some(libc::ENOSPC)
    );
    assert_eq!(file.write_at(&[2; 10], 0).unwrap(), 10, "what is allocated can be written");
    file.set_len(4).unwrap();
    assert_eq!(disk.used(), 4);
    file.allocate(0, 8).unwrap();
    disk.set_capacity(Some(0));
    write_all_at(&*file, &[3; 8], 0).unwrap();
    drop(file);
    disk.remove(Path::new(A)).unwrap();
    assert_eq!(disk.used(), 0);
}

#[test]
fn bad_bytes_are_bad_for_reading_only() {
    let (disk, file) = with_file(A);
    write_all_at(&*file, &[0; 8], 0).unwrap();
    let read = || {
        let mut buffer = [0; 8];
        read_full_at(&*file, &mut buffer, 0).map(|_| buffer)
    };
    disk.set_read_fault(Path::new(A), 2, ReadFault::Flip(3));
    disk.set_read_fault(Path::new(A), 6, ReadFault::Instead(Arc::from([7, 7, 7])));
    assert_eq!(read().unwrap(), [0, 0, 8, 0, 0, 0, 7, 7]);
    disk.set_read_fault(Path::new(A), 4, ReadFault::Error(1));
    assert_eq!(read().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(file.read_at(&mut [0; 2], 0).unwrap(), 2);
    disk.clear_faults();
    assert_eq!(read().unwrap(), [0; 8]);
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let disk = SimDisk::new();
    let lock = disk.lock(Path::new(A)).unwrap().unwrap();
    lock.write(b"1").unwrap();
    lock.write(b"").unwrap();
    assert!(disk.lock(Path::new(A)).unwrap().is_none());
    assert!(disk.fork().lock(Path::new(A)).unwrap().is_some());
    drop(lock);
    assert!(disk.lock(Path::new(A)).unwrap().is_some());
}
