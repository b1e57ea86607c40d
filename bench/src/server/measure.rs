//! What is measured of one server in a round, in the order in which it is.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::kvs_protocol;
use super::process::{Process, Programs};
use super::redis_benchmark::{self, Ask, Load, Measured};
use super::resp::Connection;
use crate::engine::{Durability, Res};
use crate::engines::KVS;
use crate::machine;

const LOOK: Duration = Duration::from_millis(50);

/// How many requests a measurement takes: by how many are on their way, and synced ones.
pub struct Requests {
    by_depth: [(usize, u64); 3],
    synced: u64,
}

impl Requests {
    pub const USUAL: Requests =
        Requests { by_depth: [(1, 500_000), (16, 2_000_000), (64, 4_000_000)], synced: 200_000 };
    pub const QUICK: Requests =
        Requests { by_depth: [(1, 150_000), (16, 800_000), (64, 1_600_000)], synced: 60_000 };
}

/// One server, in one round.
pub struct Plan<'a> {
    pub name: &'a str,
    pub programs: &'a Programs,
    pub dir: &'a Path,
    pub keys: u64,
    pub memory_keys: u64,
    pub requests: Requests,
}

impl Plan<'_> {
    /// Measures everything, and tells each value with the number of keys that it is for.
    pub fn measure(&self, keep: &mut dyn FnMut(u64, String, f64)) -> Res<()> {
        self.rates(keep)?;
        self.synced(keep)?;
        if self.memory_keys > 0 {
            let per_key = self.memory()? / self.memory_keys as f64;
            keep(self.memory_keys, "server_memory".into(), per_key);
        }
        Ok(())
    }

    /// A server with so many keys.
    fn loaded(&self, durability: Durability, keys: u64) -> Res<(Process, Connection)> {
        let server = Process::start(self.programs, self.name, durability, self.dir)?;
        let mut connection = Connection::open(server.addr)?;
        connection.load(keys)?;
        Ok((server, connection))
    }

    /// With a sync each second.
    fn rates(&self, keep: &mut dyn FnMut(u64, String, f64)) -> Res<()> {
        let (server, mut connection) = self.loaded(Durability::Os, self.keys)?;
        for ask in [Ask::Get, Ask::Set] {
            settle(&mut connection)?;
            for (depth, requests) in self.requests.by_depth {
                let load = Load { ask, depth, requests, keys: self.keys };
                let metric = format!("{}_{depth}", ask.name());
                self.keep(keep, &metric, self.redis_benchmark(server.addr, &load)?);
            }
            if self.name != KVS {
                continue;
            }
            settle(&mut connection)?;
            for (depth, requests) in self.requests.by_depth {
                let load = Load { ask, depth, requests, keys: self.keys };
                let metric = format!("own_{}_{depth}", ask.name());
                self.keep(keep, &metric, kvs_protocol::run(server.addr, &load)?);
            }
        }
        Ok(())
    }

    /// With a sync before each reply.
    fn synced(&self, keep: &mut dyn FnMut(u64, String, f64)) -> Res<()> {
        let (server, mut connection) = self.loaded(Durability::Synced, self.keys)?;
        settle(&mut connection)?;
        let requests = self.requests.synced;
        let load = Load { ask: Ask::Set, depth: 1, requests, keys: self.keys };
        self.keep(keep, "set_synced", self.redis_benchmark(server.addr, &load)?);
        Ok(())
    }

    /// The anonymous memory in bytes after a load.
    fn memory(&self) -> Res<f64> {
        let (server, mut connection) = self.loaded(Durability::Os, self.memory_keys)?;
        settle(&mut connection)?;
        Ok(machine::anonymous_bytes_of(server.id())? as f64)
    }

    fn redis_benchmark(&self, addr: SocketAddr, load: &Load) -> Res<Measured> {
        redis_benchmark::run(&self.programs.redis_benchmark, addr, load)
    }

    fn keep(&self, keep: &mut dyn FnMut(u64, String, f64), metric: &str, measured: Measured) {
        let Measured { rate, p50_us, p99_us, max_us } = measured;
        keep(self.keys, metric.into(), rate);
        for (what, value) in [("p50", p50_us), ("p99", p99_us), ("max", max_us)] {
            keep(self.keys, format!("{metric}_{what}_us"), value);
        }
    }
}

/// Waits until what a load has left to do is done.
fn settle(connection: &mut Connection) -> Res<()> {
    while connection.is_rewriting()? {
        thread::sleep(LOOK);
    }
    machine::settle();
    Ok(())
}
