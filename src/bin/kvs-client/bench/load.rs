//! The load: clients that ask, each with so many requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kvs::cli::failure::Failure;
use kvs::cli::progress::Bar;
use kvs::client::{ClientError, ClientOptions};
use kvs::{Batch, KvsClient};
use tokio::task::JoinSet;

use super::Args;

/// How long a request may take to be told apart, in nanoseconds.
const LONGEST_NS: u64 = 600_000_000_000;
/// The keys that are filled in and removed at once.
const BATCH_KEYS: u64 = 500;
/// What such a batch holds at most, about.
const BATCH_BYTES: u64 = 4 << 20;

/// What was measured: the times in nanoseconds.
pub struct Measured {
    pub reads: Histogram<u64>,
    pub writes: Histogram<u64>,
    pub elapsed: Duration,
}

/// What the tasks share.
struct Load {
    requests: u64,
    begun: AtomicU64,
    reads_percent: u64,
    keys: u64,
    value: Vec<u8>,
}

/// Fills, measures, and removes.
pub async fn run(options: &ClientOptions, addr: &str, args: &Args) -> Result<Measured, Failure> {
    let first = options.connect(addr).await?;
    let load = Arc::new(Load {
        requests: args.requests,
        begun: AtomicU64::new(0),
        reads_percent: args.reads.into(),
        keys: args.keys,
        value: vec![b'x'; usize::try_from(args.value_bytes).unwrap_or_default()],
    });
    for_all_keys(&first, &load, "filling", |batch, key| {
        batch.set(key, &load.value);
    })
    .await?;
    let mut clients = vec![first.clone()];
    for _ in 1..args.clients {
        clients.push(options.connect(addr).await?);
    }
    let measured = measure(&clients, args.pipeline, &load).await?;
    if !args.keep {
        for_all_keys(&first, &load, "removing", |batch, key| {
            batch.remove(key);
        })
        .await?;
    }
    Ok(measured)
}

fn key(number: u64) -> String {
    format!("bench/{number:010}")
}

async fn for_all_keys(
    client: &KvsClient,
    load: &Load,
    doing: &'static str,
    put: impl Fn(&mut Batch, String),
) -> Result<(), ClientError> {
    let bar = Bar::records(doing, load.keys);
    let value_bytes = u64::try_from(load.value.len()).unwrap_or(u64::MAX);
    let batch_keys = (BATCH_BYTES / value_bytes.saturating_add(100)).clamp(1, BATCH_KEYS);
    let mut done = 0;
    while done < load.keys {
        let end = load.keys.min(done + batch_keys);
        let mut batch = Batch::new();
        (done..end).for_each(|number| put(&mut batch, key(number)));
        client.write(&batch).await?;
        done = end;
        bar.set(done);
    }
    Ok(())
}

async fn measure(
    clients: &[KvsClient],
    pipeline: u32,
    load: &Arc<Load>,
) -> Result<Measured, Failure> {
    let bar = Bar::records("measuring", load.requests);
    let empty = no_times()?;
    let (mut reads, mut writes) = (empty.clone(), empty.clone());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let mut seed = 0_u64;
    for client in clients {
        for _ in 0..pipeline {
            seed += 1;
            tasks.spawn(ask(client.clone(), Arc::clone(load), seed, empty.clone()));
        }
    }
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(Ok(asked)) => {
                    let (own_reads, own_writes) = asked?;
                    // All have the same bounds.
                    let _ = reads.add(own_reads).and_then(|()| writes.add(own_writes));
                }
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => return Ok(Measured { reads, writes, elapsed: begun.elapsed() }),
            },
            _ = tick.tick() => {
                bar.set(load.begun.load(Ordering::Relaxed).min(load.requests));
            }
        }
    }
}

/// No times yet: from 1 us on, with two digits.
fn no_times() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1_000, LONGEST_NS, 2).map_err(|error| {
        let (action, name) = ("make", "a histogram".to_owned());
        Failure::Io { action, name, source: std::io::Error::other(error) }
    })
}

/// Asks one after the other until all have been asked.
async fn ask(
    client: KvsClient,
    load: Arc<Load>,
    seed: u64,
    empty: Histogram<u64>,
) -> Result<(Histogram<u64>, Histogram<u64>), ClientError> {
    let (mut reads, mut writes) = (empty.clone(), empty);
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    while load.begun.fetch_add(1, Ordering::Relaxed) < load.requests {
        let is_read = chance.below(100) < load.reads_percent;
        let key = key(chance.below(load.keys));
        let begun = Instant::now();
        if is_read {
            client.get(&key).await?;
        } else {
            client.set(&key, &load.value).await?;
        }
        let times = if is_read { &mut reads } else { &mut writes };
        times.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok((reads, writes))
}

/// Numbers by chance, the same for the same seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % end
    }
}
