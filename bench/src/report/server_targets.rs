//! What the server is to reach beside Redis.

use crate::report::Report;
use crate::report::targets::{Judged, Target};
use crate::server::REDIS;

/// A workload: what it is called, and how many times the rate of Redis it is to have.
const RATES: &[(&str, &str, f64)] = &[
    ("get_1", "GET, no pipelining", 1.1),
    ("set_1", "SET, no pipelining", 1.1),
    ("get_16", "GET, pipeline of 16", 1.4),
    ("set_16", "SET, pipeline of 16", 1.4),
    ("get_64", "GET, pipeline of 64", 1.6),
    ("set_64", "SET, pipeline of 64", 1.6),
    ("set_synced", "SET, synced before the reply", 1.5),
];

/// The p99 of each of these is to be at most so many times that of Redis.
const P99: f64 = 1.0;
/// So is the anonymous memory.
const MEMORY: f64 = 0.2;

/// Requests that come in pipelines are to be answered as fast in the own protocol.
const OWN: &[(&str, &str)] = &[
    ("get_16", "get, pipeline of 16"),
    ("get_64", "get, pipeline of 64"),
    ("set_16", "set, pipeline of 16"),
    ("set_64", "set, pipeline of 64"),
];

/// Every target at the scales that have its measurement.
pub(super) fn judge(report: &Report, out: &mut Vec<Target>) {
    for scale in report.scales() {
        let at = Judged { report, scale };
        let has = |metric: &str| at.kvs(metric).is_some();
        for (metric, what, factor) in RATES.iter().filter(|(metric, ..)| has(metric)) {
            let text = format!("{what} >= {factor} x Redis");
            out.push(at.beside(metric, REDIS, &text, |ratio| ratio >= *factor));
        }
        for (metric, what, _) in RATES.iter().filter(|(metric, ..)| has(metric)) {
            let (metric, text) = (format!("{metric}_p99_us"), format!("p99 of {what} <= Redis"));
            out.push(at.beside(&metric, REDIS, &text, |ratio| ratio <= P99));
        }
        for (metric, what) in OWN {
            let own = at.kvs(&format!("own_{metric}"));
            if own.is_some() {
                let text = format!("own protocol: {what} >= its own RESP");
                out.push(at.at_least(own, at.kvs(metric), 1.0, &text));
            }
        }
        if has("server_memory") {
            let text = format!("anonymous memory <= {MEMORY} x Redis");
            out.push(at.beside("server_memory", REDIS, &text, |ratio| ratio <= MEMORY));
        }
    }
}
