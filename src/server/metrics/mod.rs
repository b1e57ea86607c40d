//! `Metrics`: what the server counts.
//!
//! Counting is a few additions to atomics that the thread shares with few others: no lock, no
//! allocation, less than 20 ns. Reading adds the shards up, and sees each counter at a moment of
//! its own.

mod histogram;
mod labels;
mod text;

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use histogram::Histogram;

pub(crate) use histogram::Totals;
pub(crate) use labels::{CloseReason, Protocol, RefusalReason};
pub(crate) use text::CONTENT_TYPE;

/// The most shards; more threads than that share them.
const SHARDS_MAX: usize = 16;

/// What the server counts, from its start.
pub(crate) struct Metrics {
    command_names: &'static [&'static str],
    shards: Box<[Shard]>,
    connections: AtomicU64,
    accepted: AtomicU64,
    spoken: [AtomicU64; Protocol::ALL.len()],
    refused: [AtomicU64; RefusalReason::ALL.len()],
    closed: [AtomicU64; CloseReason::ALL.len()],
    protocol_errors: [AtomicU64; Protocol::ALL.len()],
    failed_logins: AtomicU64,
    slow_commands: AtomicU64,
}

/// What some of the threads have counted.
#[repr(align(128))]
struct Shard {
    commands: Box<[CommandShard]>,
    received_bytes: [AtomicU64; Protocol::ALL.len()],
    sent_bytes: [AtomicU64; Protocol::ALL.len()],
}

#[derive(Default)]
struct CommandShard {
    times: Histogram,
    errors: AtomicU64,
}

/// What there is to say of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandTotals {
    pub(crate) name: &'static str,
    /// Those that were answered with an error.
    pub(crate) errors: u64,
    pub(crate) times: Totals,
}

impl Metrics {
    /// Counts commands by their places in `command_names`.
    pub(crate) fn new(command_names: &'static [&'static str]) -> Metrics {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = threads.min(SHARDS_MAX).next_power_of_two();
        Metrics {
            command_names,
            shards: (0..shards).map(|_| Shard::new(command_names.len())).collect(),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            spoken: zeros(),
            refused: zeros(),
            closed: zeros(),
            protocol_errors: zeros(),
            failed_logins: AtomicU64::new(0),
            slow_commands: AtomicU64::new(0),
        }
    }

    /// Counts a command that was answered, after so many nanoseconds.
    #[inline]
    pub(crate) fn record(&self, command: usize, nanos: u64) {
        if let Some(command) = self.shard().and_then(|shard| shard.commands.get(command)) {
            command.times.record(nanos);
        }
    }

    /// Counts the answer to a command as an error. It is recorded, too.
    #[inline]
    pub(crate) fn record_error(&self, command: usize) {
        if let Some(command) = self.shard().and_then(|shard| shard.commands.get(command)) {
            add(&command.errors, 1);
        }
    }

    #[inline]
    pub(crate) fn received(&self, protocol: Protocol, bytes: u64) {
        if let Some(shard) = self.shard() {
            add_at(&shard.received_bytes, protocol.index(), bytes);
        }
    }

    #[inline]
    pub(crate) fn sent(&self, protocol: Protocol, bytes: u64) {
        if let Some(shard) = self.shard() {
            add_at(&shard.sent_bytes, protocol.index(), bytes);
        }
    }

    /// Counts a connection as there until what this gives is dropped.
    pub(crate) fn connected(self: &Arc<Metrics>) -> Connected {
        add(&self.connections, 1);
        add(&self.accepted, 1);
        Connected(Arc::clone(self))
    }

    /// Counts a connection that was turned away.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        add_at(&self.refused, reason.index(), 1);
    }

    /// Counts a connection that the server has closed, not the client.
    pub(crate) fn closed(&self, reason: CloseReason) {
        add_at(&self.closed, reason.index(), 1);
    }

    pub(crate) fn protocol_error(&self, protocol: Protocol) {
        add_at(&self.protocol_errors, protocol.index(), 1);
    }

    pub(crate) fn failed_login(&self) {
        add(&self.failed_logins, 1);
    }

    pub(crate) fn slow_command(&self) {
        add(&self.slow_commands, 1);
    }

    /// Connections that there are.
    pub(crate) fn connections(&self) -> u64 {
        get(&self.connections)
    }

    /// Connections that there were.
    pub(crate) fn connections_total(&self) -> u64 {
        get(&self.accepted)
    }

    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.iter().map(get).sum()
    }

    pub(crate) fn received_bytes(&self, protocol: Protocol) -> u64 {
        self.shards.iter().map(|shard| get_at(&shard.received_bytes, protocol.index())).sum()
    }

    pub(crate) fn sent_bytes(&self, protocol: Protocol) -> u64 {
        self.shards.iter().map(|shard| get_at(&shard.sent_bytes, protocol.index())).sum()
    }

    /// The commands that were called at all, in the order of their names' places.
    pub(crate) fn commands(&self) -> Vec<CommandTotals> {
        let total = |(place, name): (usize, &&'static str)| {
            let mut totals = CommandTotals { name, errors: 0, times: Totals::default() };
            for command in self.shards.iter().filter_map(|shard| shard.commands.get(place)) {
                command.times.add_to(&mut totals.times);
                totals.errors += get(&command.errors);
            }
            totals
        };
        let all = self.command_names.iter().enumerate().map(total);
        all.filter(|command| command.errors > 0 || command.times.count() > 0).collect()
    }

    /// The shard of this thread.
    #[inline]
    fn shard(&self) -> Option<&Shard> {
        // Their number is a power of two.
        self.shards.get(thread_number() & (self.shards.len() - 1))
    }
}

/// A connection that is counted as there.
pub(crate) struct Connected(Arc<Metrics>);

impl Connected {
    /// Counts which protocol it speaks; once, when that is known.
    pub(crate) fn speaks(&self, protocol: Protocol) {
        add_at(&self.0.spoken, protocol.index(), 1);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shard {
    fn new(commands: usize) -> Shard {
        Shard {
            commands: (0..commands).map(|_| CommandShard::default()).collect(),
            received_bytes: zeros(),
            sent_bytes: zeros(),
        }
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::new(0))
}

#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

#[inline]
fn add_at(counters: &[AtomicU64], place: usize, more: u64) {
    if let Some(counter) = counters.get(place) {
        add(counter, more);
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn get_at(counters: &[AtomicU64], place: usize) -> u64 {
    counters.get(place).map_or(0, get)
}

/// A number of this thread; the first ones are 0, 1, 2.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // While the thread ends, its number may be gone; any shard will do.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
