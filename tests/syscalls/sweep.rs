//! Faults at the calls of each scene: at all of them where there is a time budget, else at some.

use std::env;
use std::io::{Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::proof::{Checked, prove};
use super::random::Random;
use super::scene::{Ended, Scene, scenes};
use super::strace::{KINDS, count, injecting, missing};

const QUICK_KILLS: u64 = 200;
const QUICK_ERRORS: u64 = 200;
const THREADS: usize = 2;

/// A fault at a call.
struct Point<'a> {
    scene: &'a Scene,
    kind: &'static str,
    fault: String,
    number: u64,
    is_loading: bool,
}

impl Point<'_> {
    /// Whether the fault came, and everything is as it should be.
    fn check(&self) -> Checked<bool> {
        let Point { scene, kind, fault, number, is_loading } = self;
        let dir = scene.stage();
        let ended = scene.run(dir.path(), &injecting(kind, fault, *number));
        let checked = match &ended {
            Ended::Killed if !fault.contains("SIGKILL") => Err("it died".to_owned()),
            ended => scene.check(dir.path(), ended, *is_loading),
        };
        let tell = |wrong| {
            let kept = dir.keep();
            let kept = kept.display();
            format!("{}: {kind} number {number}, {fault}: {wrong}; kept {kept}", scene.name)
        };
        checked.map_err(tell)?;
        Ok(matches!(ended, Ended::Killed) || !fault.contains("SIGKILL"))
    }
}

#[test]
fn a_kill_at_any_call_loses_nothing() {
    sweep("syscalls::kills", QUICK_KILLS, |_| vec!["signal=SIGKILL".to_owned()]);
}

#[test]
fn an_error_of_any_call_is_told_and_loses_nothing() {
    sweep("syscalls::errors", QUICK_ERRORS, |errors| {
        errors.iter().map(|error| format!("error={error}")).collect()
    });
}

fn sweep(test: &str, quick: u64, faults: impl Fn(&[&str]) -> Vec<String>) {
    if let Some(why) = missing() {
        writeln!(stderr(), "SKIPPED {test}: {why}").unwrap();
        return;
    }
    let is_long = env::var_os("KVS_PROOF_SECONDS").is_some();
    let (scenes, _root) = scenes();
    prove(test, quick, |seed| {
        let mut points = Vec::new();
        for scene in &scenes {
            let counts = count(scene)?;
            for kind in &KINDS {
                let count = counts.get(kind.name).copied().unwrap_or_default();
                for fault in faults(kind.errors) {
                    points.extend((1..=count.most).map(|number| Point {
                        scene,
                        kind: kind.name,
                        fault: fault.clone(),
                        number,
                        is_loading: number <= count.loading,
                    }));
                }
            }
        }
        if !is_long {
            points = sample(points, quick, seed);
        }
        check_all(&points)
    });
}

/// About so many, and a tenth more, at the same distance from each other.
fn sample(points: Vec<Point<'_>>, quick: u64, seed: u64) -> Vec<Point<'_>> {
    let wanted = usize::try_from(quick + quick / 10).unwrap();
    let step = (points.len() / wanted).max(1);
    let skipped = Random::new(seed).below(u64::try_from(step).unwrap());
    points.into_iter().skip(usize::try_from(skipped).unwrap()).step_by(step).collect()
}

/// How many of the faults came.
fn check_all(points: &[Point<'_>]) -> Checked<u64> {
    let (next, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match point.check() {
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
