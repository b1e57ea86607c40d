//! `INFO`: what tools read of a server, in the words of Redis, and what there is besides.

use std::fmt::Write;

use bytes::Bytes;

use super::Session;
use crate::engine::EngineStats;
use crate::server::metrics::Protocol;
use crate::server::shared::unix_time;

/// The version whose commands clients may expect.
pub(super) const REDIS_VERSION: &str = "7.2.4";

const USUAL: [&str; 8] =
    ["server", "clients", "memory", "persistence", "stats", "replication", "kvs", "keyspace"];

impl Session {
    pub(super) async fn info(&mut self, sections: &[Bytes]) {
        let stats = match self.shared.engine.stats().await {
            Ok(stats) => stats,
            Err(error) => return self.fail(&error),
        };
        let wanted: Vec<String> = sections
            .iter()
            .map(|section| String::from_utf8_lossy(section).to_ascii_lowercase())
            .collect();
        let is_all = wanted.is_empty()
            || wanted.iter().any(|it| ["default", "all", "everything"].contains(&it.as_str()));
        let has_more = wanted.iter().any(|it| ["all", "everything"].contains(&it.as_str()));
        let mut text = String::new();
        let names = USUAL.iter().chain(&["commandstats", "latencystats", "cluster"]);
        for name in names {
            let is_wanted = wanted.iter().any(|it| it == name)
                || is_all && USUAL.contains(name)
                || has_more
                || is_all && *name == "cluster";
            if !is_wanted {
                continue;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            self.section(&mut text, name, &stats);
        }
        self.replies.verbatim(text.as_bytes());
    }

    fn section(&self, text: &mut String, name: &str, stats: &EngineStats) {
        let mut title = name.to_owned();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        // Writing to a string does not fail.
        let _ = write!(text, "# {title}\r\n");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, "{key}:{value}\r\n");
        };
        let shared = &self.shared;
        let resident = resident_bytes();
        match name {
            "server" => {
                line("redis_version", &REDIS_VERSION);
                line("kvs_version", &env!("CARGO_PKG_VERSION"));
                line("redis_mode", &"standalone");
                line("os", &std::env::consts::OS);
                line("arch_bits", &usize::BITS);
                line("process_id", &std::process::id());
                line("tcp_port", &self.peer.local_addr.port());
                line("server_time_usec", &unix_time().as_micros());
                line("uptime_in_seconds", &shared.since.elapsed().as_secs());
                line("uptime_in_days", &(shared.since.elapsed().as_secs() / 86400));
            }
            "clients" => {
                line("connected_clients", &shared.peers.len());
                line("maxclients", &shared.config.connections_max);
                line("blocked_clients", &0);
            }
            "memory" => {
                line("used_memory", &resident);
                line("used_memory_human", &human(resident));
                line("used_memory_rss", &resident);
                line("used_memory_rss_human", &human(resident));
                line("maxmemory", &0);
                line("maxmemory_policy", &"noeviction");
            }
            "replication" => {
                line("role", &"master");
                line("connected_slaves", &0);
            }
            "cluster" => line("cluster_enabled", &0),
            "keyspace" if stats.keys > 0 => {
                let value =
                    format!("keys={},expires={},avg_ttl=0", stats.keys, stats.expiring_keys);
                line("db0", &value);
            }
            _ => self.busy_section(line, name, stats),
        }
    }

    /// The sections about what is being done.
    fn busy_section(
        &self,
        mut line: impl FnMut(&str, &dyn std::fmt::Display),
        name: &str,
        stats: &EngineStats,
    ) {
        let shared = &self.shared;
        let metrics = &shared.metrics;
        match name {
            "persistence" => {
                line("loading", &0);
                line("async_loading", &0);
                line("rdb_bgsave_in_progress", &0);
                let last = shared.last_save_s.load(std::sync::atomic::Ordering::Relaxed);
                line("rdb_last_save_time", &last);
                line("rdb_last_bgsave_status", &"ok");
                let is_durable = shared.engine.capabilities().durable;
                line("aof_enabled", &u8::from(is_durable));
                let is_compacting = shared.is_compacting.load(std::sync::atomic::Ordering::Relaxed);
                line("aof_rewrite_in_progress", &u8::from(is_compacting));
                line("aof_last_bgrewrite_status", &"ok");
                let poisoned =
                    stats.figures.iter().any(|it| it.name == "poisoned" && it.value > 0.0);
                line("aof_last_write_status", &if poisoned { "err" } else { "ok" });
            }
            "stats" => {
                line("total_connections_received", &metrics.connections_total());
                let commands: u64 = metrics.commands().iter().map(|it| it.times.count()).sum();
                line("total_commands_processed", &commands);
                let protocols = [Protocol::Resp, Protocol::Kvs];
                let received: u64 = protocols.iter().map(|it| metrics.received_bytes(*it)).sum();
                let sent: u64 = protocols.iter().map(|it| metrics.sent_bytes(*it)).sum();
                line("total_net_input_bytes", &received);
                line("total_net_output_bytes", &sent);
                line("rejected_connections", &metrics.refused_total());
            }
            "commandstats" => {
                for command in metrics.commands() {
                    let (calls, usec) = (command.times.count(), command.times.nanos / 1000);
                    let each = usec.checked_div(calls).unwrap_or_default();
                    let value = format!(
                        "calls={calls},usec={usec},usec_per_call={each}.00,rejected_calls=0,\
                         failed_calls={}",
                        command.errors
                    );
                    line(&format!("cmdstat_{}", command.name), &value);
                }
            }
            "latencystats" => {
                for command in metrics.commands() {
                    let at = |share| command.times.quantile_nanos(share) / 1000;
                    let value = format!("p50={},p99={},p99.9={}", at(0.5), at(0.99), at(0.999));
                    line(&format!("latency_percentiles_usec_{}", command.name), &value);
                }
            }
            "kvs" => {
                line("engine", &shared.engine.name());
                line("disk_bytes", &stats.disk_bytes);
                line("index_bytes", &stats.index_bytes);
                stats.figures.iter().for_each(|figure| line(figure.name, &figure.value));
            }
            _ => {}
        }
    }
}

/// What of the memory of this process is in the machine's, in bytes; 0 where that cannot be told.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn human(bytes: u64) -> String {
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1024 && unit < 4 {
        whole /= 1024;
        unit += 1;
    }
    let scale = 1_u64 << (10 * unit);
    let hundredths = (bytes % scale) * 100 / scale;
    format!("{whole}.{hundredths:02}{}", ["B", "K", "M", "G", "T"].get(unit).unwrap_or(&"B"))
}
