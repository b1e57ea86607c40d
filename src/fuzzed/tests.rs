//! Each target on its corpus and on mutations of that, within a bound of memory.

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::mutation::mutate;
use super::{files, frames, globs, operations, requests};
use crate::store::sim_disk::state::Rng;
use crate::store::tests::proof::prove;

/// How many inputs are tried with one seed.
const INPUTS: u64 = 100;

/// What a target may have allocated at once: so many bytes for each byte of its input, and a few
/// more.
struct Bound {
    per_byte: u64,
    bytes: u64,
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn check(target: fn(&[u8]), bound: &Bound, input: &[u8]) {
    let used = allocation_counter::measure(|| target(input));
    let most = bound.bytes + bound.per_byte * input.len() as u64;
    assert!(used.bytes_max <= most, "{} bytes, at most {most}", used.bytes_max);
}

fn run(name: &str, floor: u64, target: fn(&[u8]), bound: Bound)
where
    Bound: RefUnwindSafe,
{
    // What is made once is not of any input.
    target(&[]);
    let known = corpus(name);
    assert!(!known.is_empty());
    for (path, input) in &known {
        let outcome = catch_unwind(|| check(target, &bound, input));
        assert!(outcome.is_ok(), "fuzz {name}: {}", path.display());
    }
    let known: Vec<Vec<u8>> = known.into_iter().map(|(_, input)| input).collect();
    prove(&format!("fuzz {name}"), floor, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..INPUTS {
            let input = mutate(&known, &mut rng);
            let outcome = catch_unwind(|| check(target, &bound, &input));
            if outcome.is_err() {
                return Err(format!("with the input \"{}\"", input.escape_ascii()));
            }
        }
        Ok(INPUTS)
    });
}

#[test]
fn any_bytes_are_requests_of_redis_or_a_refusal() {
    run("requests", 200_000, requests, Bound { per_byte: 600, bytes: 64 << 10 });
}

#[test]
fn any_bytes_are_frames_or_a_refusal() {
    run("frames", 200_000, frames, Bound { per_byte: 600, bytes: 64 << 10 });
}

#[test]
fn matching_a_pattern_ends() {
    run("globs", 200_000, globs, Bound { per_byte: 16, bytes: 4 << 10 });
}

#[test]
fn any_files_are_a_store_or_a_refusal() {
    run("files", 5_000, files, Bound { per_byte: 64, bytes: 16 << 20 });
}

#[test]
fn operations_on_a_failing_disk_keep_the_promises() {
    run("operations", 1_000, operations, Bound { per_byte: 64 << 10, bytes: 64 << 20 });
}
