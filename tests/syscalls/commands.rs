//! The commands of `kvs`, with a fault at one of their calls.

use super::proof::Checked;
use super::scene::{Ended, Scene, scenes};
use super::strace::{Injection, KINDS, Kind, count};
use super::sweep::{Fault, Faults, sweep};

const QUICK: u64 = 200;

#[test]
fn a_kill_at_any_call_loses_nothing() {
    sweep_commands("syscalls::kills", Faults::Kills);
}

#[test]
fn an_error_of_any_call_is_told_and_loses_nothing() {
    sweep_commands("syscalls::errors", Faults::Errors);
}

fn sweep_commands(test: &str, faults: Faults) {
    let (scenes, _root) = scenes();
    let kinds: Vec<&Kind> = KINDS.iter().collect();
    let points = || {
        let mut points = Vec::new();
        for scene in &scenes {
            let dir = scene.stage();
            let counts = count(&kinds, dir.path(), |words| match scene.run(dir.path(), words) {
                Ended::Done => Ok(()),
                ended => Err(format!("{} under strace: {ended:?}", scene.name)),
            })?;
            points.extend(faults.at(&kinds, &counts).into_iter().map(|fault| (scene, fault)));
        }
        Ok(points)
    };
    sweep(test, QUICK, points, |(scene, fault)| check(scene, fault));
}

/// Whether the fault came, and everything is as it should be.
fn check(scene: &Scene, fault: &Fault) -> Checked<bool> {
    let dir = scene.stage();
    let injection = Injection::new(fault.kind, &fault.fault, fault.number);
    let ended = scene.run(dir.path(), &injection.words);
    let checked = match &ended {
        Ended::Killed if !fault.is_kill() => Err("it died".to_owned()),
        ended => scene.check(dir.path(), ended, fault.is_loading),
    };
    let tell = |wrong| {
        let kept = dir.keep();
        let (kept, Fault { kind, number, fault, .. }) = (kept.display(), fault);
        format!("{}: {kind} number {number}, {fault}: {wrong}; kept {kept}", scene.name)
    };
    checked.map_err(tell)?;
    Ok(matches!(ended, Ended::Killed) || injection.has_come())
}
