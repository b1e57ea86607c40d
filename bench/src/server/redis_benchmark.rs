//! `redis-benchmark`, run and understood.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{CONNECTIONS, VALUE_BYTES};
use crate::engine::Res;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Get,
    Set,
}

impl Ask {
    pub fn name(self) -> &'static str {
        match self {
            Ask::Get => "get",
            Ask::Set => "set",
        }
    }
}

/// A load: so many requests on random ones of so many keys, each connection with `depth` of them
/// on their way.
#[derive(Clone, Copy)]
pub struct Load {
    pub ask: Ask,
    pub depth: usize,
    pub requests: u64,
    pub keys: u64,
}

/// What became of a load.
#[derive(Debug, PartialEq)]
pub struct Measured {
    /// Requests per second.
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

pub fn run(program: &Path, addr: SocketAddr, load: &Load) -> Res<Measured> {
    let numbers = [
        ("-p", u64::from(addr.port())),
        ("-c", CONNECTIONS as u64),
        ("-d", VALUE_BYTES as u64),
        ("-r", load.keys),
        ("-n", load.requests),
        ("-P", load.depth as u64),
    ];
    let mut command = Command::new(program);
    command.args(["-h", &addr.ip().to_string(), "-t", load.ask.name(), "--csv"]);
    for (name, number) in numbers {
        command.arg(name).arg(number.to_string());
    }
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("redis-benchmark ended with {}: {error}", output.status).into());
    }
    parse(&text).ok_or_else(|| format!("redis-benchmark printed {text:?}").into())
}

/// Reads a table of one row, by the names of its columns.
fn parse(csv: &str) -> Option<Measured> {
    let mut rows = csv.lines().map(cells).filter(|row| row.len() > 1);
    let head = rows.next()?;
    let row = rows.next()?;
    let number = |name| -> Option<f64> {
        let place = head.iter().position(|column| *column == name)?;
        row.get(place)?.parse().ok()
    };
    let micros = |name| number(name).map(|millis| millis * 1000.0);
    Some(Measured {
        rate: number("rps")?,
        p50_us: micros("p50_latency_ms")?,
        p99_us: micros("p99_latency_ms")?,
        max_us: micros("max_latency_ms")?,
    })
}

fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"')).collect()
}

#[cfg(test)]
mod tests {
    use super::{Measured, parse};

    /// As version 7.0.15 prints it.
    const PRINTED: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\
        \"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
        \"SET\",\"714285.69\",\"0.842\",\"0.288\",\"0.855\",\"1.279\",\"1.975\",\"2.119\"\n";

    #[test]
    fn a_row_is_read_by_its_head() {
        let measured = Measured { rate: 714_285.69, p50_us: 855.0, p99_us: 1975.0, max_us: 2119.0 };
        assert_eq!(parse(PRINTED), Some(measured));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let head = PRINTED.lines().next().unwrap();
        let other_columns = PRINTED.replace("p99_latency_ms", "p98_latency_ms");
        for text in ["", head, "Could not connect", &other_columns] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
