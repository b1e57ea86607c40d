//! How the randomised tests run: over seeds, until a floor of cases is reached or, with a time
//! budget, until that is spent; every failure names the seed that repeats it.
//!
//! `KVS_SEED` is the first seed (else it is random), `KVS_PROOF_SECONDS` the budget per test,
//! `KVS_PROOF_PERCENT` how much of the floors will do (100), `KVS_LEDGER` a file that gets a line
//! of JSON per test, `KVS_COMMIT` the commit for that line.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Without a budget a test may take so long to reach its floor.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a check finds: an answer, or what is wrong.
pub type Checked<T> = Result<T, String>;

/// Runs `case` with one seed after another; it answers with the number of cases that it covered,
/// or with what is wrong. Fails if `floor` cases are not reached.
pub fn prove(test: &str, floor: u64, mut case: impl FnMut(u64) -> Checked<u64>) {
    let first = number("KVS_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 1);
    let budget = number("KVS_PROOF_SECONDS").map(Duration::from_secs);
    let floor = (floor * number("KVS_PROOF_PERCENT").unwrap_or(100)).div_ceil(100);
    let started = Instant::now();
    let (mut seeds, mut count) = (0, 0);
    let more = |count| match budget {
        Some(budget) => started.elapsed() < budget || (count < floor && seeds_left(started)),
        None => count < floor && seeds_left(started),
    };
    while more(count) {
        let seed = first + seeds;
        let outcome = catch_unwind(AssertUnwindSafe(|| case(seed)));
        seeds += 1;
        let wrong = match outcome {
            Ok(Ok(covered)) => {
                count += covered;
                continue;
            }
            Ok(Err(wrong)) => wrong,
            Err(_) => "a panic, printed above".to_owned(),
        };
        record(test, first, seeds, count, 1);
        panic!("{test} failed; repeat with KVS_SEED={seed}: {wrong}");
    }
    record(test, first, seeds, count, 0);
    println!("{test}: {count} cases, {seeds} seeds from {first}, {:?}", started.elapsed());
    assert!(count >= floor, "{test}: only {count} cases of at least {floor}");
}

fn seeds_left(started: Instant) -> bool {
    started.elapsed() < PATIENCE
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn record(test: &str, first: u64, seeds: u64, count: u64, failures: u64) {
    let Ok(path) = env::var("KVS_LEDGER") else {
        return;
    };
    let commit = env::var("KVS_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    let line = format!(
        "{{\"commit\":\"{commit}\",\"test\":\"{test}\",\"seeds\":[{first},{}],\
         \"count\":{count},\"failures\":{failures}}}\n",
        first + seeds.saturating_sub(1),
    );
    let mut ledger = OpenOptions::new().create(true).append(true).open(path).unwrap();
    ledger.write_all(line.as_bytes()).unwrap();
}
