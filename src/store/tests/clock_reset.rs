//! Resetting a clock that was wrong: keys expire when they should again, and nothing is lost.

use std::path::Path;
use std::sync::Arc;

use super::clock::{START_MS, SetClock};
use super::scene::{Scene, model};
use super::workload::DIRECTORY;
use crate::error::{KvsError, Result};
use crate::options::SetOptions;
use crate::store::Environment;
use crate::store::clock::{Clock, JUMP_MS};
use crate::store::clock_floor::{ClockReset, reset_clock_in};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::CrashPlan;
use crate::store::sim_disk::fault::{Failure, Fault};
use crate::store::sim_disk::state::Rng;

/// In the years 2030 and 2040, in milliseconds since 1970-01-01 UTC.
const IN_2030_MS: u64 = 1_893_456_000_000;
const IN_2040_MS: u64 = 2_208_988_800_000;

impl Scene {
    fn set_until(&self, key: &str, value: &str, at_ms: u64) {
        self.store.set_with(key, value, SetOptions::new().expire_at_ms(at_ms)).unwrap();
    }

    /// The clock of the machine goes wrong while the store is open, in steps that it follows.
    fn creep_to(&self, wall_ms: u64) {
        let mut wall = self.clock.wall_ms();
        while wall < wall_ms {
            wall = (wall + JUMP_MS).min(wall_ms);
            self.clock.set_wall(wall);
            assert_eq!(self.store.now_ms(), wall);
        }
        self.store.sync_step().unwrap();
    }

    /// The process dies, the clock is reset, and the store is opened again.
    fn restart_with_reset_clock(self) -> (Scene, ClockReset) {
        let clock = Arc::clone(&self.clock);
        let disk = self.die();
        let reset = reset_clock_on(&disk, &clock).unwrap();
        (Scene::later(disk, &clock, 50).unwrap(), reset)
    }
}

fn reset_clock_on(disk: &SimDisk, clock: &Arc<SetClock>) -> Result<ClockReset> {
    let clock = Arc::<SetClock>::clone(clock);
    let environment =
        Environment { disk: Arc::new(disk.clone()), clock, seed: 7, background: false };
    reset_clock_in(Path::new(DIRECTORY), environment)
}

#[test]
fn a_clock_that_was_wrong_can_be_reset() {
    for opens_by_it in [false, true] {
        let scene = Scene::new();
        scene.set("key", "older");
        scene.set_until("key", "1", IN_2030_MS);
        scene.set_for("short", "1", 5000);
        scene.set_until("again", "1", IN_2030_MS);
        let scene = match opens_by_it {
            true => {
                scene.clock.set_wall(IN_2040_MS);
                scene.reopen()
            }
            false => {
                scene.creep_to(IN_2040_MS);
                scene
            }
        };
        scene.pass(1);
        assert_eq!(scene.contents().unwrap(), model(&[]));
        scene.set("again", "2");
        scene.pass(2000);
        scene.clock.set_wall(START_MS + 6000);
        let scene = scene.restart();
        assert_eq!(scene.contents().unwrap(), model(&[("again", "2")]), "what it is for");
        let (scene, reset) = scene.restart_with_reset_clock();
        assert!(reset.floor_before_ms >= IN_2040_MS, "{reset:?}");
        assert_eq!(reset.floor_after_ms, START_MS + 6000);
        let right = model(&[("again", "2"), ("key", "1")]);
        assert_eq!(scene.contents().unwrap(), right);
        assert_eq!(scene.store.now_ms(), START_MS + 6000);
        scene.set_for("soon", "1", 5000);
        scene.pass(4999);
        assert_eq!(scene.contents().unwrap().len(), 3);
        scene.pass(1);
        // The marks of the wrong time are still in the log.
        let scene = scene.restart();
        assert_eq!(scene.contents().unwrap(), right, "after a kill");
        let scene = scene.lose_power();
        assert_eq!(scene.contents().unwrap(), right, "after a power loss");
        assert!(scene.store.now_ms() < START_MS + 60_000);
        scene.expect(&[("again", "2"), ("key", "1")]);
    }
}

#[test]
fn a_clock_that_was_right_is_not_changed_by_a_reset() {
    let scene = Scene::new();
    scene.set_for("key", "1", 5000);
    scene.set("stays", "1");
    scene.pass(5000);
    assert_eq!(scene.contents().unwrap(), model(&[("stays", "1")]));
    scene.pass(5000);
    let (scene, reset) = scene.restart_with_reset_clock();
    assert!(reset.floor_after_ms <= START_MS + 10_000, "{reset:?}");
    scene.expect(&[("stays", "1")]);
    let scene = Scene::new();
    scene.set("stays", "1");
    let (scene, reset) = scene.restart_with_reset_clock();
    assert_eq!((reset.floor_before_ms, reset.floor_after_ms), (0, 0), "it has never mattered");
    scene.expect(&[("stays", "1")]);
}

#[test]
fn a_reset_that_fails_says_so_and_one_that_is_repeated_helps() {
    let scene = Scene::new();
    scene.set_until("key", "1", IN_2030_MS);
    scene.creep_to(IN_2040_MS);
    let clock = Arc::clone(&scene.clock);
    clock.set_wall(START_MS);
    assert!(matches!(reset_clock_on(&scene.disk, &clock), Err(KvsError::Locked { .. })));
    let disk = scene.die();
    let (mut failed, mut calls) = (0, u64::MAX);
    for after in 0.. {
        if after > calls {
            break;
        }
        let disk = disk.fork();
        let before = disk.calls(None);
        disk.set_fault(Fault { kind: None, after, failure: Failure::Enospc, forever: true });
        let reset = reset_clock_on(&disk, &clock);
        calls = disk.calls(None) - before;
        disk.clear_faults();
        match reset {
            Ok(reset) => assert_eq!(reset.floor_after_ms, START_MS, "call {after}"),
            Err(_) => {
                failed += 1;
                reset_clock_on(&disk, &clock).unwrap();
            }
        }
        let scene = Scene::later(disk, &clock, 60).unwrap();
        assert_eq!(scene.contents().unwrap(), model(&[("key", "1")]), "call {after}");
        scene.die();
    }
    assert!(failed > 3, "{failed} of {calls} calls failed");
}

#[test]
fn a_crash_in_the_middle_of_a_reset_loses_nothing() {
    let scene = Scene::new();
    scene.set_until("key", "1", IN_2030_MS);
    scene.set("other", "1");
    scene.creep_to(IN_2040_MS);
    let clock = Arc::clone(&scene.clock);
    clock.set_wall(START_MS);
    let disk = scene.die();
    disk.record();
    reset_clock_on(&disk, &clock).unwrap();
    let trace = disk.take_trace();
    let (wrong, right) = (model(&[("other", "1")]), model(&[("key", "1"), ("other", "1")]));
    let mut rng = Rng::new(1);
    let mut replay = trace.replay();
    for at in 0..=trace.len() {
        replay.advance_to(at);
        for plan in CrashPlan::choose(replay.pending(), 20, &mut rng) {
            let disk = SimDisk::of(replay.crash(&plan));
            let scene = Scene::later(disk, &clock, rng.next() >> 1).unwrap();
            let found = scene.contents().unwrap();
            let is_done = at == trace.len();
            assert!(found == right || (found == wrong && !is_done), "{found:?}, {at}, {plan:?}");
            let (scene, _) = scene.restart_with_reset_clock();
            assert_eq!(scene.contents().unwrap(), right, "{at}, {plan:?}");
            scene.die();
        }
    }
}
