//! Failed calls: each sync and each other call that changes something fails in each way, once and
//! for ever. Afterwards no acknowledged write is lost and nothing wrong is read, and the store
//! either goes on or is poisoned until it is opened again.

use super::failing::{Step, check_after, check_reads, run};
use super::oracle::History;
use super::proof::{Checked, prove};
use super::workload::{Action, BATCHES, COMPACTING, SMALL, Session, Shape, open};
use crate::error::KvsError;
use crate::options::{Durability, WriteOptions};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};
use crate::store::sim_disk::state::Rng;

/// The number of calls of a kind that a workload makes if none of them fails.
fn sites(shape: Shape, seed: u64, kind: Option<CallKind>) -> Checked<u64> {
    let mut session = Session::recorded(shape, seed);
    session.perform(&shape.script(seed))?;
    Ok(session.disk.calls(kind))
}

/// Performs the workload of this seed with a fault and checks what comes of it.
fn run_with(shape: Shape, seed: u64, fault: Fault) -> Checked<()> {
    let steps = shape.script(seed).into_iter().map(Step::Act);
    run(shape, seed, seed ^ fault.after, std::iter::once(Step::Fail(fault)).chain(steps))
}

/// Lets each call of a kind fail in turn. Answers with the number of runs.
fn fail_each(
    shape: Shape,
    seed: u64,
    kind: Option<CallKind>,
    ways: &[(Failure, bool)],
) -> Checked<u64> {
    let sites = sites(shape, seed, kind)?;
    for after in 0..sites {
        for (failure, forever) in ways {
            let fault = Fault { kind, after, failure: *failure, forever: *forever };
            run_with(shape, seed, fault).map_err(|wrong| format!("{fault:?}: {wrong}"))?;
        }
    }
    Ok(sites * ways.len() as u64)
}

const BOTH_WAYS: [(Failure, bool); 4] = [
    (Failure::Eio, false),
    (Failure::Eio, true),
    (Failure::Enospc, false),
    (Failure::Enospc, true),
];

/// An interruption for ever is left out: whoever tries again would do so for ever.
const ALL_WAYS: [(Failure, bool); 9] = [
    (Failure::Eio, false),
    (Failure::Eio, true),
    (Failure::Enospc, false),
    (Failure::Enospc, true),
    (Failure::Eintr, false),
    (Failure::Emfile, false),
    (Failure::Emfile, true),
    (Failure::Short, false),
    (Failure::Short, true),
];

#[test]
fn a_failed_sync_is_final() {
    prove("P8 sync", 2_000, |seed| {
        let mut runs = 0;
        for kind in [CallKind::Sync, CallKind::SyncDir] {
            for shape in [SMALL, COMPACTING, BATCHES] {
                runs += fail_each(shape, seed, Some(kind), &BOTH_WAYS)?;
            }
        }
        Ok(runs)
    });
}

#[test]
fn failed_calls_lose_nothing() {
    prove("P9 failed calls", 1_500, |seed| fail_each(SMALL, seed, None, &ALL_WAYS));
}

#[test]
fn failed_calls_with_compaction_lose_nothing() {
    prove("P9 failed calls, compaction", 1_500, |seed| {
        let opens = [(Failure::Emfile, false), (Failure::Eio, false)];
        let runs = fail_each(COMPACTING, seed, Some(CallKind::Open), &opens)?;
        Ok(runs + fail_each(COMPACTING, seed, None, &ALL_WAYS)?)
    });
}

/// Two faults in a row: a short write, and then the rest of it fails too.
#[test]
fn a_write_that_fails_half_way_leaves_nothing() {
    prove("P9 half a write", 500, |seed| {
        let sites = sites(BATCHES, seed, Some(CallKind::Write))?;
        for after in 0..sites {
            let kind = Some(CallKind::Write);
            let mut session = Session::recorded(BATCHES, seed);
            let half = Fault { kind, after, failure: Failure::Short, forever: false };
            let rest = Fault { after: after + 1, failure: Failure::Eio, ..half };
            session.disk.set_fault(half);
            session.disk.set_fault(rest);
            for action in BATCHES.script(seed) {
                if session.act(action).is_err() && session.store.is_some() {
                    check_reads(&session).map_err(|wrong| format!("{rest:?}: {wrong}"))?;
                    // Again: as many bytes, which take the place of those that were cut off.
                    let _ = session.act(action);
                }
            }
            check_after(session, Rng::new(seed)).map_err(|wrong| format!("{rest:?}: {wrong}"))?;
        }
        Ok(sites)
    });
}

/// A write fails half-way and is cut off, and others take its place. If the first of these is
/// lost, a power loss must not find the failed one there instead, and the second behind it.
#[test]
fn a_failed_write_never_makes_a_hole() {
    prove("P9 hole behind a failed write", 50_000, |seed| {
        let mut states = 0;
        // The record of the failed write ends at the boundary of a sector in one of them.
        for pad in 0..64 {
            let disk = SimDisk::new();
            let store = open(&disk, &SMALL.options(), seed).map_err(|error| error.to_string())?;
            let always = WriteOptions::new().durability(Durability::Always);
            store.set_opt("pad", vec![b'p'; 200 + pad * 8], always).unwrap();
            let half = Fault {
                kind: Some(CallKind::Write),
                after: 0,
                failure: Failure::Short,
                forever: false,
            };
            disk.set_fault(half);
            disk.set_fault(Fault { after: 1, failure: Failure::Eio, ..half });
            store.set("a", "A").expect_err("the write fails half-way");
            disk.clear_faults();
            store.set("b", "B").unwrap();
            store.set("c", "C").unwrap();
            for seed in seed..seed + 800 {
                let keep = if seed % 2 == 0 { Keep::Torn(512) } else { Keep::Subset };
                let crashed = disk.crash(&CrashPlan::new(keep, seed));
                let found = open(&crashed, &SMALL.options(), seed).map_err(|e| e.to_string())?;
                let has = |key: &str| found.get(key).is_ok_and(|value| value.is_some());
                if has("c") && !has("b") {
                    let failed = has("a");
                    return Err(format!("pad {pad}, {keep:?}: c without b; a: {failed}"));
                }
                found.abandon();
                states += 1;
            }
            store.abandon();
        }
        Ok(states)
    });
}

/// Fills a small disk. Reads, removes and compaction go on, and when there is space again writes
/// do too, without a restart.
fn fill(shape: Shape, seed: u64) -> Checked<u64> {
    let mut rng = Rng::new(seed);
    let capacity = 48 * 1024 + rng.below(64 * 1024);
    let mut session = Session::new(SimDisk::new(), shape, seed, (History::new(), 0));
    session.open().map_err(|error| format!("open: {error}"))?;
    session.disk.set_capacity(Some(capacity));
    let mut filled = false;
    for _ in 0..2000 {
        let seed = rng.next();
        let write =
            Action::Write { seed, operations: 1 + rng.below(8), durability: Durability::Os };
        match session.act(write) {
            Ok(()) => {}
            Err(KvsError::DiskFull { .. }) => {
                filled = true;
                break;
            }
            Err(error) => return Err(format!("not the error of a full disk: {error}")),
        }
        if session.disk.used() > capacity {
            return Err("more was used than there is".to_owned());
        }
    }
    if !filled {
        return Err(format!("{capacity} bytes were never full"));
    }
    check_reads(&session)?;
    session.remove_some(8).map_err(|error| format!("remove on a full disk: {error}"))?;
    check_reads(&session)?;
    session.act(Action::Compact).map_err(|error| format!("compact on a full disk: {error}"))?;
    check_reads(&session)?;
    session.disk.set_capacity(None);
    session.check_works().map_err(|wrong| format!("with space again: {wrong}"))?;
    Ok(1)
}

#[test]
fn a_full_disk_refuses_writes_only() {
    let shape = Shape { keys: 4000, remove_in: 1 << 30, ballast_bytes: 32 << 10, ..SMALL };
    prove("P9 full disk", 200, |seed| fill(shape, seed));
}

/// What is read is right or an error: a flipped bit, a bad sector, a block of another place.
#[test]
fn bad_reads_are_errors() {
    use crate::store::sim_disk::fault::ReadFault;
    prove("P9 bad reads", 5_000, |seed| {
        let mut rng = Rng::new(seed);
        let mut session = Session::new(SimDisk::new(), SMALL, seed, (History::new(), 0));
        let script = SMALL.script(seed);
        session.perform(&script)?;
        session.open().map_err(|error| error.to_string())?;
        let files = session.disk.files();
        let segments: Vec<_> =
            files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg")).collect();
        let mut cases = 0;
        for _ in 0..200 {
            let (path, bytes) = segments[rng.below(segments.len())];
            let (other, _) = (&segments[rng.below(segments.len())].1, ());
            let offset = rng.below(bytes.len().max(1));
            let fault = match rng.below(3) {
                0 => ReadFault::Error(512),
                1 => ReadFault::Flip(u8::try_from(rng.below(8)).unwrap()),
                _ => ReadFault::Instead(other.iter().skip(offset).take(512).copied().collect()),
            };
            session.disk.set_read_fault(path, offset, fault.clone());
            let store = session.store.as_ref().ok_or("closed")?;
            let read = session.history.check_reads(|key| store.get(key), SMALL.keys);
            read.map_err(|wrong| format!("{fault:?} at {offset} of {}: {wrong}", path.display()))?;
            session.disk.clear_faults();
            cases += 1;
        }
        session.contents()?;
        Ok(cases)
    });
}
