//! What was counted comes out as it went in; the text, line by line.

use std::sync::Arc;

use super::{CloseReason, Metrics, Protocol, RefusalReason};
use crate::engine::{EngineStats, Figure};

const NAMES: &[&str] = &["get", "set", "del"];

fn example() -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new(NAMES));
    metrics.record(0, 1024);
    metrics.record(0, 1025);
    metrics.record(0, 3_000_000_000);
    metrics.record(1, u64::from(u32::MAX) * 4);
    metrics.record(7, 1);
    metrics.record_error(1);
    metrics.connected().speaks(Protocol::Kvs);
    metrics.received(Protocol::Resp, 100);
    metrics.sent(Protocol::Resp, 200);
    metrics.refused(RefusalReason::ConnectionsMax);
    metrics.closed(CloseReason::Idle);
    metrics.protocol_error(Protocol::Resp);
    metrics.failed_login();
    metrics.slow_command();
    metrics
}

#[test]
fn the_text_is_as_prometheus_reads_it() {
    let connection = example();
    let _open = connection.connected();
    let stats = EngineStats {
        keys: 5,
        expiring_keys: 1,
        disk_bytes: 4096,
        index_bytes: 70,
        figures: vec![
            Figure { name: "syncs", help: "Syncs.", is_counter: true, value: 12.0 },
            Figure { name: "live_bytes", help: "Alive.", is_counter: false, value: 0.5 },
            Figure { name: "nonsense", help: "None.", is_counter: false, value: f64::NAN },
        ],
    };
    let text = connection.to_text("kvs", Some(&stats));
    let golden = include_str!("golden.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(text, golden, "{text}");
    let known: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("# TYPE ")).collect();
    let known: Vec<&str> = known.iter().filter_map(|it| it.split(' ').next()).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(known.contains(&name) || known.contains(&plain.unwrap()), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_documents_name_each_metric() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SERVER.md");
    let document = std::fs::read_to_string(document).unwrap();
    let text = example().to_text("kvs", Some(&EngineStats::default()));
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(document.contains(&format!("| `{name}`")), "docs/SERVER.md does not name {name}");
    }
}

#[test]
fn a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
    let metrics = Metrics::new(NAMES);
    for nanos in [0, 1, 1023, 1024] {
        metrics.record(0, nanos);
    }
    metrics.record(0, 1025);
    metrics.record(0, 2048);
    metrics.record(0, 1 << 33);
    metrics.record(0, (1 << 33) + 1);
    metrics.record(0, u64::MAX);
    let commands = metrics.commands();
    let [get] = &commands[..] else { panic!("{commands:?}") };
    let buckets = get.times.buckets;
    assert_eq!((buckets[0], buckets[1], buckets[23], buckets[24]), (4, 2, 1, 2));
    assert_eq!(get.times.count(), 9);
    assert_eq!(get.times.quantile_nanos(0.5), 2048);
    assert_eq!(get.times.quantile_nanos(1.0), 1 << 33);
    assert_eq!(super::Totals::default().quantile_nanos(0.5), 0);
}

#[test]
fn nothing_is_lost_between_threads() {
    let metrics = Metrics::new(NAMES);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for nanos in 0..1000 {
                    metrics.record(2, nanos);
                    metrics.sent(Protocol::Kvs, 3);
                }
            });
        }
    });
    let commands = metrics.commands();
    assert_eq!((commands[0].name, commands[0].times.count()), ("del", 20_000));
    assert_eq!(commands[0].times.nanos, 20 * 499_500);
    assert_eq!(metrics.sent_bytes(Protocol::Kvs), 60_000);
}

#[test]
fn a_connection_counts_until_it_is_dropped() {
    let metrics = Arc::new(Metrics::new(NAMES));
    let (first, second) = (metrics.connected(), metrics.connected());
    assert_eq!((metrics.connections(), metrics.connections_total()), (2, 2));
    drop(first);
    assert_eq!((metrics.connections(), metrics.connections_total()), (1, 2));
    drop(second);
    assert_eq!((metrics.connections(), metrics.refused_total()), (0, 0));
}

#[test]
#[ignore = "a measurement: cargo test --release --lib metrics -- --ignored --nocapture"]
fn recording_costs_less_than_20_ns() {
    let metrics = Metrics::new(NAMES);
    let begin = std::time::Instant::now();
    for nanos in 0..10_000_000 {
        metrics.record(1, nanos & 0xffff);
    }
    let nanos = begin.elapsed().as_nanos() / 10_000_000;
    println!("{nanos} ns");
    assert!(nanos < 20);
}
