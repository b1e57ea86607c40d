//! The metrics as text, in the format of Prometheus (version 0.0.4).

use std::fmt::{Display, Write};

use super::histogram::{BOUNDED, bound_nanos};
use super::{CloseReason, CommandTotals, Metrics, Protocol, RefusalReason, get, get_at};
use crate::engine::EngineStats;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// Everything that is counted, and what the engine says of itself.
    pub(crate) fn to_text(&self, engine: &str, stats: Option<&EngineStats>) -> String {
        let mut text = Text(String::new());
        let version = env!("CARGO_PKG_VERSION");
        text.head("kvs_build_info", "gauge", "The version, and the engine that it runs.");
        text.line("kvs_build_info", &[("version", version), ("engine", engine)], 1);
        self.write_connections(&mut text);
        write_commands(&mut text, &self.commands());
        if let Some(stats) = stats {
            write_engine(&mut text, stats);
        }
        text.0
    }

    fn write_connections(&self, text: &mut Text) {
        text.single("kvs_connections", "gauge", "Connections that there are.", self.connections());
        let name = "kvs_connections_accepted_total";
        text.single(name, "counter", "Connections that were accepted.", self.connections_total());
        let by_protocol = |counters: &[_]| {
            Protocol::ALL.iter().map(|it| (it.name(), get_at(counters, it.index()))).collect()
        };
        let spoken: Vec<_> = by_protocol(&self.spoken);
        let help = "Connections by the protocol that they speak.";
        text.labelled("kvs_connections_total", help, "protocol", spoken);
        let name = "kvs_connections_refused_total";
        let refused = RefusalReason::ALL.iter();
        let refused = refused.map(|it| (it.name(), get_at(&self.refused, it.index())));
        text.labelled(name, "Connections that were turned away.", "reason", refused);
        let name = "kvs_connections_closed_total";
        let closed = CloseReason::ALL.iter();
        let closed = closed.map(|it| (it.name(), get_at(&self.closed, it.index())));
        text.labelled(name, "Connections that the server has closed.", "reason", closed);
        let received = Protocol::ALL.iter().map(|it| (it.name(), self.received_bytes(*it)));
        let name = "kvs_received_bytes_total";
        text.labelled(name, "Bytes that came from clients.", "protocol", received);
        let sent = Protocol::ALL.iter().map(|it| (it.name(), self.sent_bytes(*it)));
        text.labelled("kvs_sent_bytes_total", "Bytes that went to clients.", "protocol", sent);
        let errors: Vec<_> = by_protocol(&self.protocol_errors);
        let help = "Requests that were not understood, which ends the connection.";
        text.labelled("kvs_protocol_errors_total", help, "protocol", errors);
        let help = "Wrong passwords.";
        text.single("kvs_failed_logins_total", "counter", help, get(&self.failed_logins));
        let help = "Commands that took as long as slow_log_us or longer.";
        text.single("kvs_slow_commands_total", "counter", help, get(&self.slow_commands));
    }
}

fn write_commands(text: &mut Text, commands: &[CommandTotals]) {
    let help = "Commands that were answered with an error.";
    let errors = commands.iter().map(|command| (command.name, command.errors));
    text.labelled("kvs_command_errors_total", help, "command", errors);
    let name = "kvs_command_duration_seconds";
    text.head(name, "histogram", "How long commands took, from their last byte to their answer.");
    let (buckets, sums) = (format!("{name}_bucket"), format!("{name}_sum"));
    let counts = format!("{name}_count");
    for CommandTotals { name, times, .. } in commands {
        let mut below = 0;
        for (place, count) in times.buckets.iter().take(BOUNDED).enumerate() {
            below += count;
            let bound = seconds(bound_nanos(place)).to_string();
            text.line(&buckets, &[("command", name), ("le", &bound)], below);
        }
        // All three from one look, so that they agree.
        text.line(&buckets, &[("command", name), ("le", "+Inf")], times.count());
        text.line(&sums, &[("command", name)], seconds(times.nanos));
        text.line(&counts, &[("command", name)], times.count());
    }
}

fn write_engine(text: &mut Text, stats: &EngineStats) {
    text.single("kvs_keys", "gauge", "Keys that have a value.", stats.keys);
    let help = "Of those keys, the ones that expire some time.";
    text.single("kvs_expiring_keys", "gauge", help, stats.expiring_keys);
    text.single("kvs_disk_bytes", "gauge", "What the files take.", stats.disk_bytes);
    let help = "What the index takes in memory.";
    text.single("kvs_index_bytes", "gauge", help, stats.index_bytes);
    for figure in stats.figures.iter().filter(|figure| figure.value.is_finite()) {
        let (kind, end) = match figure.is_counter {
            true if figure.name.ends_with("_total") => ("counter", ""),
            true => ("counter", "_total"),
            false => ("gauge", ""),
        };
        let name = format!("kvs_engine_{}{end}", figure.name);
        text.single(&name, kind, figure.help, figure.value);
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The text so far. Writing to a string does not fail.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', " "));
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    /// A line; labels are words that need no escapes.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(key, it)| format!("{key}=\"{it}\"")).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    /// A counter with a label that tells its lines apart.
    fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, "counter", help);
        for (word, value) in values {
            self.line(name, &[(label, word)], value);
        }
    }
}
