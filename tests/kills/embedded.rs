//! Processes with a store of their own.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use super::child::{DIR, GROUP_MAX, ORDERS, Orders, Told};
use super::examine::examine;
use super::oracle::{Progress, Writer};
use super::proof::{Checked, prove};
use super::random::Random;

const QUICK_KILLS: u64 = 320;
/// In the same directory, one process after the other.
const ROUNDS: u64 = 10;
const WRITERS_MAX: u64 = 3;

/// When a child is killed: some microseconds after it has said something.
#[derive(Debug)]
enum Plan {
    Opening(u64),
    Compacting(u64),
    /// After so many acknowledgements.
    Working(u64, u64),
}

/// How many microseconds later it is still in the middle of what it has said: this is learnt,
/// machines differ.
struct Aim(AtomicU64);

impl Aim {
    fn delay_us(&self, random: &mut Random) -> u64 {
        random.below(self.0.load(Ordering::Relaxed))
    }

    fn learn(&self, has_hit: bool) {
        let us = self.0.load(Ordering::Relaxed);
        let next = if has_hit { us * 5 / 4 } else { us * 3 / 4 };
        self.0.store(next.clamp(40, 20_000), Ordering::Relaxed);
    }
}

struct Aims {
    opening: Aim,
    compacting: Aim,
}

impl Aims {
    fn new() -> Aims {
        let aim = || Aim(AtomicU64::new(4000));
        Aims { opening: aim(), compacting: aim() }
    }

    fn choose(&self, random: &mut Random) -> Plan {
        match random.below(20) {
            0..3 => Plan::Opening(self.opening.delay_us(random)),
            3..6 => Plan::Compacting(self.compacting.delay_us(random)),
            6..10 => Plan::Working(1 + random.below(8), random.below(500)),
            _ => Plan::Working(1 + random.below(150), random.below(500)),
        }
    }

    fn learn(&self, plan: &Plan, heard: &Heard) {
        match plan {
            Plan::Opening(_) => self.opening.learn(!heard.opened),
            Plan::Compacting(_) => self.compacting.learn(heard.compacting),
            Plan::Working(..) => {}
        }
    }
}

/// What a child had said when it was dead.
#[derive(Default)]
struct Heard {
    opened: bool,
    compacting: bool,
    acknowledged: u64,
    progress: Vec<Progress>,
}

impl Heard {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Opening => (),
            Told::Opened => self.opened = true,
            Told::Compacting => self.compacting = true,
            Told::Compacted => self.compacting = false,
            Told::Acknowledged(writer, number) => {
                self.acknowledged += 1;
                let progress = &mut self.progress[writer];
                assert_eq!(number, progress.acknowledged + 1, "of writer {writer}");
                *progress = Progress { acknowledged: number, begun: number + GROUP_MAX };
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    let (opening, compacting, kills) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let aims = Aims::new();
    prove("kills::embedded", QUICK_KILLS, |seed| {
        let mut random = Random::new(seed);
        let dir = tempdir().unwrap();
        let writers = 1 + random.below(WRITERS_MAX);
        let mut writers: Vec<Writer> =
            (0..usize::try_from(writers).unwrap()).map(|index| Writer::new(seed, index)).collect();
        for round in 0..ROUNDS {
            let plan = aims.choose(&mut random);
            let killed = kill_one(&plan, dir.path(), seed, &writers, &mut random);
            let checked = killed.and_then(|heard| {
                aims.learn(&plan, &heard);
                opening.fetch_add(u64::from(!heard.opened), Ordering::Relaxed);
                compacting.fetch_add(u64::from(heard.compacting), Ordering::Relaxed);
                kills.fetch_add(1, Ordering::Relaxed);
                let found = examine(dir.path(), &mut random)?;
                let known: usize = writers.iter().map(|writer| writer.part_of(&found).len()).sum();
                if known != found.len() {
                    return Err("it holds keys that nobody wrote".to_owned());
                }
                let mut settled = writers.iter_mut().zip(&heard.progress);
                settled.try_for_each(|(writer, progress)| writer.settle(&found, *progress))
            });
            if let Err(wrong) = checked {
                let dir = dir.keep();
                return Err(format!("round {round}, {plan:?}: {wrong}; kept {}", dir.display()));
            }
        }
        Ok(ROUNDS)
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (opening, compacting, kills) = (count(&opening), count(&compacting), count(&kills));
    println!("{kills} kills, {opening} while opening, {compacting} while compacting");
    // About a twelfth each; how many hit is chance.
    assert!(opening * 80 >= kills, "only {opening} of {kills} while opening");
    assert!(compacting * 80 >= kills, "only {compacting} of {kills} while compacting");
}

/// Starts a child, kills it as planned, and says what it had said.
fn kill_one(
    plan: &Plan,
    dir: &Path,
    seed: u64,
    writers: &[Writer],
    random: &mut Random,
) -> Checked<Heard> {
    let compact_after = match plan {
        Plan::Compacting(_) => 1 + random.below(60),
        _ if random.one_in(4) => 1 + random.below(200),
        _ => 0,
    };
    let starts: Vec<u64> = writers.iter().map(|writer| writer.next).collect();
    let progress = starts
        .iter()
        .map(|start| Progress { acknowledged: start - 1, begun: start - 1 + GROUP_MAX });
    let mut heard = Heard { progress: progress.collect(), ..Heard::default() };
    let orders = Orders { seed, manner: random.next(), compact_after, starts };
    let mut child = start(&orders, dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let mut lines = lines.by_ref().map_while(Result::ok);
        lines.find_map(|line| Told::of_line(&line))
    };
    let mut died = true;
    while let Some(told) = next() {
        heard.hear(told);
        let delay_us = match plan {
            Plan::Opening(us) if told == Told::Opening => *us,
            Plan::Compacting(us) if told == Told::Compacting => *us,
            Plan::Working(count, us) if heard.acknowledged == *count => *us,
            _ => continue,
        };
        // This waits for nothing: it is the moment that was chosen.
        thread::sleep(Duration::from_micros(delay_us));
        died = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        break;
    }
    let ended = child.wait().unwrap();
    // What it had said before the end.
    while let Some(told) = next() {
        heard.hear(told);
    }
    if died {
        return Err(format!("{orders:?}: it died by itself: {ended}"));
    }
    Ok(heard)
}

fn start(orders: &Orders, dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child::a_process_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(ORDERS, orders.to_text())
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
