//! Batches are all or nothing: batches of 1 to 50 operations at the end of a segment, the file
//! cut at every byte of them.

use std::path::{Path, PathBuf};

use super::oracle::Contents;
use super::proof::{Checked, prove};
use super::workload::{Action, DIRECTORY, SMALL, Session, Shape, open};
use crate::options::Durability;
use crate::store::sim_disk::state::Rng;

const SHAPE: Shape = Shape { keys: 40, value_bytes: 60, ..SMALL };

/// What stands behind the cut.
#[derive(Debug, Clone, Copy)]
enum Behind {
    Nothing,
    Zeros,
    Garbage,
}

/// Writes singles until a segment is nearly full, and then a batch of this size.
fn with_batch(seed: u64, operations: usize) -> Checked<Session> {
    let mut session = Session::recorded(SHAPE, seed);
    let mut rng = Rng::new(seed);
    let durability = Durability::Os;
    for _ in 0..30 + rng.below(90) {
        let write = Action::Write { seed: rng.next(), operations: 1, durability };
        session.act(write).map_err(|error| error.to_string())?;
    }
    // A remove of nothing writes nothing; then another batch is tried.
    let before = session.disk.position();
    while session.disk.position() == before {
        let batch = Action::Write { seed: rng.next(), operations, durability };
        session.act(batch).map_err(|error| error.to_string())?;
    }
    Ok(session)
}

fn active_segment(session: &Session) -> Option<PathBuf> {
    let id = session.store.as_ref()?.segment_ids().pop()?;
    Some(Path::new(DIRECTORY).join(format!("{id:010}.seg")))
}

/// Cuts at every byte. Answers with the number of cuts.
pub fn cut_everywhere(seed: u64, operations: usize) -> Checked<u64> {
    let mut session = with_batch(seed, operations)?;
    let path = active_segment(&session).ok_or("no segment")?;
    if let Some(store) = session.store.take() {
        store.abandon();
    }
    let bytes = session.disk.bytes(&path).ok_or("the active segment has no file")?;
    let batch = session.disk.take_trace().last_write().ok_or("nothing was written")?;
    let all = session.history.len();
    let mut rng = Rng::new(seed);
    for behind in [Behind::Nothing, Behind::Zeros, Behind::Garbage] {
        let mut whole = false;
        for cut in batch.clone() {
            let mut cut_bytes = bytes[..cut].to_vec();
            match behind {
                Behind::Nothing => {}
                Behind::Zeros => cut_bytes.resize(bytes.len(), 0),
                Behind::Garbage => {
                    cut_bytes.extend((0..16).flat_map(|_| rng.next().to_le_bytes()));
                }
            }
            let wrong = |wrong| format!("batch of {operations}, cut at {cut}, {behind:?}: {wrong}");
            let disk = session.disk.fork();
            disk.set_bytes(&path, cut_bytes);
            let store = open(&disk, &SHAPE.options(), rng.next());
            let store = store.map_err(|error| wrong(format!("open: {error}")))?;
            let found = Contents::read(&store, SHAPE.keys).map_err(wrong)?;
            store.abandon();
            let least = if whole { all } else { all - 1 };
            let survived = session.history.check(&found, (least, all)).map_err(wrong)?;
            // A batch that changes nothing is as good as there. Garbage may happen to be what was
            // cut off, at one cut and not at the next.
            whole |= !matches!(behind, Behind::Garbage)
                && survived == all
                && session.history.check(&found, (all - 1, all - 1)).is_err();
        }
    }
    Ok(3 * batch.len() as u64)
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all() {
    prove("P4 batches", 50_000, |seed| {
        (1..=50).map(|operations| cut_everywhere(seed ^ operations as u64, operations)).sum()
    });
}
