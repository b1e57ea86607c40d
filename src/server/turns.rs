//! Turns: what is refused again and again, because others are faster with the same keys, goes
//! before them in the end.
//!
//! As long as nobody has lost too often, nothing is asked for but whether that is so. Then whoever
//! writes waits for its turn with these keys, in the order of coming.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

/// How many places keys are spread over; keys with the same place wait for each other.
const PLACES: u64 = 64;

/// The turns of a server.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many have lost too often and are not done yet.
    losers: AtomicUsize,
    places: Vec<Mutex<()>>,
}

/// A turn; it is over when this is dropped.
pub(crate) struct Turn<'t> {
    _places: Vec<MutexGuard<'t, ()>>,
    loser: Option<Loser<'t>>,
}

/// One of those that have lost too often.
struct Loser<'t>(&'t Turns);

impl Turns {
    pub(crate) fn new() -> Turns {
        let places = (0..PLACES).map(|_| Mutex::new(())).collect();
        Turns { losers: AtomicUsize::new(0), places }
    }

    /// Waits for a turn with some keys; none: nobody waits for one.
    pub(super) async fn take<'k>(
        &self,
        keys: impl Iterator<Item = &'k Bytes>,
        has_lost: bool,
    ) -> Option<Turn<'_>> {
        if !has_lost && self.losers.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let loser = has_lost.then(|| Loser::new(self));
        // In one order for all, so that no two wait for each other.
        let wanted: BTreeSet<usize> = keys.map(place_of).collect();
        let mut places = Vec::with_capacity(wanted.len());
        for place in wanted {
            if let Some(place) = self.places.get(place) {
                places.push(place.lock().await);
            }
        }
        Some(Turn { _places: places, loser })
    }
}

impl<'t> Turn<'t> {
    /// Who has this turn has lost too often by now: others wait from here on.
    pub(super) fn lose(&mut self, turns: &'t Turns) {
        self.loser.get_or_insert_with(|| Loser::new(turns));
    }
}

fn place_of(key: &Bytes) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % PLACES).unwrap_or_default()
}

impl<'t> Loser<'t> {
    fn new(turns: &'t Turns) -> Loser<'t> {
        turns.losers.fetch_add(1, Ordering::Relaxed);
        Loser(turns)
    }
}

impl Drop for Loser<'_> {
    fn drop(&mut self) {
        self.0.losers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use bytes::Bytes;

    use super::Turns;

    #[tokio::test]
    async fn who_has_lost_goes_first_and_others_wait_only_then() {
        let turns = Turns::new();
        let key = [Bytes::from_static(b"key")];
        assert!(turns.take(key.iter(), false).await.is_none());
        let turn = turns.take(key.iter(), true).await;
        assert!(turn.is_some());
        {
            let mut other = pin!(turns.take(key.iter(), false));
            let is_waiting =
                poll_fn(|context| Poll::Ready(other.as_mut().poll(context).is_pending()));
            assert!(is_waiting.await);
            drop(turn);
            assert!(other.await.is_some());
        }
        assert!(turns.take(key.iter(), false).await.is_none());
    }

    #[tokio::test]
    async fn who_waited_for_a_loser_and_loses_then_is_one() {
        let turns = Turns::new();
        let key = [Bytes::from_static(b"key")];
        let first = turns.take(key.iter(), true).await;
        let other = [Bytes::from_static(b"another")];
        let mut second = turns.take(other.iter(), false).await.unwrap();
        drop(first);
        assert!(turns.take(key.iter(), false).await.is_none(), "nobody has lost");
        second.lose(&turns);
        second.lose(&turns);
        assert!(turns.take(key.iter(), false).await.is_some());
        drop(second);
        assert!(turns.take(key.iter(), false).await.is_none());
    }
}
