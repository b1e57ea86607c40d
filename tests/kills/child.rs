//! A process that writes until it is killed: this test binary, started again with what it is to do
//! in `KVS_KILLS_ORDERS`.

use std::env;
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use kvs::{Batch, Durability, SetOptions, Store, WriteOptions};

use super::examine;
use super::random::Random;
use super::script::{Change, Operation, What, operation};

pub const ORDERS: &str = "KVS_KILLS_ORDERS";
pub const DIR: &str = "KVS_KILLS_DIR";
/// The most operations that a writer begins before it acknowledges them.
pub const GROUP_MAX: u64 = 8;
/// Nothing lasts so long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a child is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    pub seed: u64,
    /// Decides how the store is opened and how the operations are called.
    pub manner: u64,
    /// Compacts after so many operations of the first writer; 0: never.
    pub compact_after: u64,
    /// The number with which each writer begins.
    pub starts: Vec<u64>,
}

impl Orders {
    pub fn to_text(&self) -> String {
        let numbers = [self.seed, self.manner, self.compact_after];
        let words = numbers.iter().chain(&self.starts).map(u64::to_string);
        words.collect::<Vec<_>>().join(" ")
    }

    fn from_text(text: &str) -> Orders {
        let mut numbers = text.split(' ').map(|word| u64::from_str(word).unwrap());
        let mut next = || numbers.next().unwrap();
        let (seed, manner, compact_after) = (next(), next(), next());
        Orders { seed, manner, compact_after, starts: numbers.collect() }
    }
}

/// What a child tells its parent, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Opening,
    Opened,
    Compacting,
    Compacted,
    /// A writer, and the number of its operation.
    Acknowledged(usize, u64),
}

impl Told {
    /// What a line says; lines of the test harness say nothing.
    pub fn of_line(line: &str) -> Option<Told> {
        let (_, words) = line.split_once("told: ")?;
        Some(match words {
            "opening" => Told::Opening,
            "opened" => Told::Opened,
            "compacting" => Told::Compacting,
            "compacted" => Told::Compacted,
            _ => {
                let (writer, number) = words.split_once(' ').unwrap();
                Told::Acknowledged(writer.parse().unwrap(), number.parse().unwrap())
            }
        })
    }
}

fn tell(words: &str) {
    println!("told: {words}");
}

/// Not a test of its own: what the others start.
#[test]
fn a_process_to_be_killed() {
    let Ok(orders) = env::var(ORDERS) else {
        return;
    };
    let dir = PathBuf::from(env::var_os(DIR).unwrap_or_default());
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("it hangs");
        process::abort();
    });
    work(&Orders::from_text(&orders), &dir);
}

fn work(orders: &Orders, dir: &Path) {
    tell("opening");
    let store = examine::options(&mut Random::new(orders.manner)).open(dir).unwrap();
    tell("opened");
    thread::scope(|scope| {
        for (writer, start) in orders.starts.iter().enumerate() {
            let store = &store;
            scope.spawn(move || write(store, orders, writer, *start));
        }
    });
}

/// Never ends.
fn write(store: &Store, orders: &Orders, writer: usize, start: u64) {
    let mut manner = Random::of(orders.manner, u64::try_from(writer).unwrap());
    let mut number = start;
    loop {
        let group = if manner.one_in(4) { 1 + manner.below(GROUP_MAX) } else { 1 };
        let numbers = number..number + group;
        let operations: Vec<Operation> =
            numbers.clone().map(|number| operation(orders.seed, writer, number)).collect();
        let durability = match manner.below(40) {
            0 => WriteOptions::new().durability(Durability::Always),
            1 => WriteOptions::new().durability(Durability::Os),
            _ => WriteOptions::new(),
        };
        match &operations[..] {
            [one] => perform(store, one, durability),
            group => perform_together(store, group, durability),
        }
        numbers.for_each(|number| tell(&format!("{writer} {number}")));
        let compact_at = start + orders.compact_after;
        let passed = number < compact_at && compact_at <= number + group;
        if writer == 0 && orders.compact_after > 0 && passed {
            tell("compacting");
            store.compact().unwrap();
            tell("compacted");
        }
        number += group;
    }
}

fn perform(store: &Store, operation: &Operation, options: WriteOptions) {
    match operation {
        Operation::One(Change { key, what }) => match what {
            What::Set { value, expires_at_ms: Some(at) } => {
                store.set_with(key, value, SetOptions::new().expire_at_ms(*at)).unwrap();
            }
            What::Set { value, expires_at_ms: None } => {
                store.set_opt(key, value, options).unwrap();
            }
            What::Remove => {
                store.remove_opt(key, options).unwrap();
            }
        },
        Operation::Batch(_) => {
            store.write_opt(&as_batch(operation), options).unwrap();
        }
        Operation::Sync => store.sync().unwrap(),
    }
}

/// In one call, each a batch of its own.
fn perform_together(store: &Store, operations: &[Operation], options: WriteOptions) {
    let batches: Vec<Batch> = operations.iter().map(as_batch).collect();
    let writes: Vec<(&Batch, WriteOptions)> =
        batches.iter().map(|batch| (batch, options)).collect();
    for outcome in store.write_many(&writes) {
        outcome.unwrap();
    }
}

fn as_batch(operation: &Operation) -> Batch {
    let mut batch = Batch::new();
    for Change { key, what } in operation.changes() {
        match what {
            What::Set { value, expires_at_ms: Some(at) } => batch.set_until(key, value, *at),
            What::Set { value, expires_at_ms: None } => batch.set(key, value),
            What::Remove => batch.remove(key),
        };
    }
    batch
}
