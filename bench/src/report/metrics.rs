//! The measured quantities: what they are called, their units, which way is better.

/// The pseudo-scale of the memory series of KVS alone.
pub const MEMORY_SCALE: &str = "memory";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Millis,
    Micros,
    BytesPerKey,
    Ratio,
    Share,
}

pub struct Metric {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub higher_is_better: bool,
    /// Whether the ratio to the best rival says something.
    pub compared: bool,
}

const fn rate(id: &'static str, title: &'static str) -> Metric {
    Metric { id, title, unit: Unit::PerSecond, higher_is_better: true, compared: true }
}

const fn cost(id: &'static str, title: &'static str, unit: Unit, compared: bool) -> Metric {
    Metric { id, title, unit, higher_is_better: false, compared }
}

/// The rows of the tables.
pub const METRICS: &[Metric] = &[
    rate("load", "load by single sets"),
    rate("batch", "load by batches of 100"),
    rate("get_1", "random get, 1 thread"),
    rate("get_2", "random get, 2 threads"),
    Metric { compared: false, ..rate("get_no_copy_1", "random get without a copy, 1 thread") },
    Metric { compared: false, ..rate("get_no_copy_2", "random get without a copy, 2 threads") },
    rate("miss", "get of a missing key, 1 thread"),
    rate("scan_100", "scan of 100 keys in order, with values"),
    rate("scan_all", "scan of all keys in order: keys"),
    rate("mixed_uniform", "half set half get, 2 threads, uniform"),
    rate("mixed_zipfian", "half set half get, 2 threads, zipfian"),
    rate("sync_1", "synced set, 1 thread"),
    rate("sync_8", "synced set, 8 threads"),
    rate("sync_64", "synced set, 64 threads"),
    rate("remove", "remove all"),
    rate("soak", "overwrite soak"),
    cost("soak_p50_us", "soak: p50 of set", Unit::Micros, true),
    cost("soak_p99_us", "soak: p99 of set", Unit::Micros, true),
    cost("soak_p999_us", "soak: p99.9 of set", Unit::Micros, true),
    cost("soak_disk", "soak: most disk over live bytes", Unit::Ratio, true),
    cost("reopen_close_ms", "reopen after close", Unit::Millis, true),
    cost("reopen_kill_ms", "reopen after kill -9", Unit::Millis, true),
    cost("kill_missing", "keys missing after the kill -9", Unit::Share, false),
    cost("memory", "anonymous memory per key", Unit::BytesPerKey, false),
    cost(
        "memory_ordered",
        "both indexes, as the store counts them, per key",
        Unit::BytesPerKey,
        false,
    ),
    cost("disk", "bytes on disk after load, over keys and values", Unit::Ratio, true),
];

/// The rate of a workload of the servers, and how long a request takes.
macro_rules! timed {
    ($id:literal, $title:literal, $compared:literal) => {
        [
            Metric { compared: $compared, ..rate($id, $title) },
            cost(concat!($id, "_p50_us"), concat!($title, ": p50"), Unit::Micros, $compared),
            cost(concat!($id, "_p99_us"), concat!($title, ": p99"), Unit::Micros, $compared),
            cost(concat!($id, "_max_us"), concat!($title, ": longest"), Unit::Micros, false),
        ]
    };
}

/// The rows of the tables of the servers.
pub const SERVER_TIMED: &[[Metric; 4]] = &[
    timed!("get_1", "GET, no pipelining", true),
    timed!("get_16", "GET, pipeline of 16", true),
    timed!("get_64", "GET, pipeline of 64", true),
    timed!("set_1", "SET, no pipelining", true),
    timed!("set_16", "SET, pipeline of 16", true),
    timed!("set_64", "SET, pipeline of 64", true),
    timed!("set_synced", "SET, synced before the reply", true),
    timed!("own_get_1", "own protocol: get, no pipelining", false),
    timed!("own_get_16", "own protocol: get, pipeline of 16", false),
    timed!("own_get_64", "own protocol: get, pipeline of 64", false),
    timed!("own_set_1", "own protocol: set, no pipelining", false),
    timed!("own_set_16", "own protocol: set, pipeline of 16", false),
    timed!("own_set_64", "own protocol: set, pipeline of 64", false),
];

/// The row of the servers that has no time.
pub const SERVER_MEMORY: Metric =
    cost("server_memory", "anonymous memory per key", Unit::BytesPerKey, true);

/// The limits of the machine; measured without any engine.
pub const LIMITS: &[Metric] = &[
    rate("limit_pwrite", "one `pwrite` per record"),
    rate("limit_sync_allocated", "`pwrite` + `fdatasync`, file allocated before"),
    rate("limit_sync_written", "`pwrite` + `fdatasync`, file written before"),
    rate("limit_read_1", "two dependent cache misses, 1 thread"),
    rate("limit_read_2", "two dependent cache misses, 2 threads"),
];

/// A value in its unit, with three digits.
pub fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond if value >= 999_500.0 => format!("{} M/s", digits(value / 1e6)),
        Unit::PerSecond if value >= 999.5 => format!("{} k/s", digits(value / 1e3)),
        Unit::PerSecond => format!("{} /s", digits(value)),
        Unit::Millis => format!("{} ms", digits(value)),
        Unit::Micros => format!("{} µs", digits(value)),
        Unit::BytesPerKey => format!("{} B", digits(value)),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Share => format!("{:.1} %", value * 100.0),
    }
}

/// Three digits where that needs a fraction.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
