//! What must hold of every state that a crash can leave.

use std::sync::Arc;

use super::clock::{START_MS, SetClock};
use super::oracle::{Contents, History};
use super::proof::Checked;
use super::workload::{LATER_MS, Session, Shape, open_at, remove_hints};
use crate::options::Index;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;

/// Operations that are made after a crash have numbers that no lost one has.
const NUMBERS: usize = 1_000_000;

/// Opens a disk after a crash and checks everything that can be told of it.
pub fn examine(
    shape: Shape,
    history: &History,
    disk: SimDisk,
    bounds: (usize, usize),
    rng: &mut Rng,
) -> Checked<()> {
    // The history counts what expires as removed.
    let passed = if shape.expiring_in > 0 { LATER_MS } else { 0 };
    let clock = Arc::new(SetClock::at(START_MS + passed));
    let lasting = Shape { expiring_in: 0, ..shape };
    let contents = |disk: &SimDisk, seed: u64| {
        // The two indexes take turns.
        let index = if seed.is_multiple_of(2) { Index::Hash } else { Index::Ordered };
        let store = open_at(&clock, disk, &shape.options().index(index), seed)
            .map_err(|e| format!("open: {e}"))?;
        let contents = Contents::read(&store, shape.keys)?;
        Ok::<_, String>((store, contents))
    };
    let bare = disk.fork();
    let hints = remove_hints(&bare);
    let (store, found) = contents(&disk, rng.next())?;
    let survived = history.check(&found, bounds)?;
    if hints > 0 {
        let (store, without) = contents(&bare, rng.next())?;
        store.abandon();
        if without != found {
            return Err(format!("{hints} hints change what is found"));
        }
    }
    match rng.below(32) {
        0 => {
            let history = (history.prefix(survived), NUMBERS);
            let mut session = Session::new(disk, lasting, rng.next(), history);
            (session.store, session.clock) = (Some(store), clock);
            session.check_works()?;
        }
        1 => {
            store.abandon();
            let (store, again) = contents(&disk, rng.next())?;
            store.close().map_err(|error| format!("close: {error}"))?;
            let closed = disk.crash(&CrashPlan::new(Keep::Nothing, 0));
            let (store, closed) = contents(&closed, rng.next())?;
            store.abandon();
            if again != found || closed != found {
                return Err("opened again it contains something else".to_owned());
            }
        }
        2 if survived < history.len() => {
            let lost = history.echo(survived + 1, NUMBERS);
            let history = (history.prefix(survived), NUMBERS + 1);
            let mut session = Session::new(disk, lasting, rng.next(), history);
            (session.store, session.clock) = (Some(store), clock);
            session.check_overwrites(&lost)?;
        }
        _ => store.abandon(),
    }
    Ok(())
}
