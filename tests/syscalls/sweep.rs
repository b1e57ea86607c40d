//! Faults at the calls of a process: at all of them where there is a time budget, else at some.

use std::collections::BTreeMap;
use std::env;
use std::io::{Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::proof::{Checked, prove};
use super::random::Random;
use super::strace::{Count, Kind, missing};

const THREADS: usize = 2;

/// What a process is to get at its calls.
#[derive(Clone, Copy)]
pub enum Faults {
    Kills,
    Errors,
}

/// A fault at a call.
#[derive(Clone)]
pub struct Fault {
    pub kind: &'static str,
    /// `signal=SIGKILL` or `error=EIO`.
    pub fault: String,
    /// Of the calls of this kind in a thread.
    pub number: u64,
    /// Whether the process is still being loaded.
    pub is_loading: bool,
}

impl Faults {
    /// These faults at all calls that were counted.
    pub fn at(self, kinds: &[&Kind], counts: &BTreeMap<&'static str, Count>) -> Vec<Fault> {
        let mut all = Vec::new();
        for kind in kinds {
            let count = counts.get(kind.name).copied().unwrap_or_default();
            let faults = match self {
                Faults::Kills => vec!["signal=SIGKILL".to_owned()],
                Faults::Errors => kind.errors.iter().map(|it| format!("error={it}")).collect(),
            };
            for fault in faults {
                all.extend((1..=count.most).map(|number| Fault {
                    kind: kind.name,
                    fault: fault.clone(),
                    number,
                    is_loading: number <= count.loading,
                }));
            }
        }
        all
    }
}

impl Fault {
    pub fn is_kill(&self) -> bool {
        self.fault.contains("SIGKILL")
    }
}

/// Goes through points, each of which is a fault at a process: whether the fault came and
/// everything is as it should be.
pub fn sweep<P: Sync>(
    test: &str,
    quick: u64,
    points: impl Fn() -> Checked<Vec<P>>,
    check: impl Fn(&P) -> Checked<bool> + Sync,
) {
    if let Some(why) = missing() {
        stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
        return;
    }
    let is_long = env::var_os("KVS_PROOF_SECONDS").is_some();
    prove(test, quick, |seed| {
        let mut points = points()?;
        if !is_long {
            points = sample(points, quick, seed);
        }
        check_all(&points, &check)
    });
}

/// About so many, and a tenth more, at the same distance from each other.
fn sample<P>(points: Vec<P>, quick: u64, seed: u64) -> Vec<P> {
    let wanted = usize::try_from(quick + quick / 10).unwrap();
    let step = (points.len() / wanted).max(1);
    let skipped = Random::new(seed).below(u64::try_from(step).unwrap());
    points.into_iter().skip(usize::try_from(skipped).unwrap()).step_by(step).collect()
}

/// How many of the faults came.
fn check_all<P: Sync>(points: &[P], check: &(impl Fn(&P) -> Checked<bool> + Sync)) -> Checked<u64> {
    let (next, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match check(point) {
                        Ok(true) => _ = came.fetch_add(1, Ordering::Relaxed),
                        // The call was in another thread this time.
                        Ok(false) => (),
                        Err(error) => wrong.lock().unwrap().push(error),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    if wrong.is_empty() {
        return Ok(u64::try_from(came.into_inner()).unwrap());
    }
    Err(format!("{} of {} faults:\n{}", wrong.len(), points.len(), wrong.join("\n")))
}
