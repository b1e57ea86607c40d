//! What KVS is to reach, and whether it did.

use crate::engines::KVS;
use crate::limits;
use crate::report::metrics::{MEMORY_SCALE, METRICS, Unit, digits, show};
use crate::report::{Kind, Report, server_targets};

/// Anonymous memory per key, at most.
const MEMORY_BYTES: f64 = 16.0;

pub struct Target {
    pub text: String,
    /// The scale.
    pub at: String,
    pub measured: String,
    /// None: there is no measurement to judge by.
    pub reached: Option<bool>,
}

/// Every target at every scale of the run.
pub fn judge(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    if report.kind == Kind::Server {
        server_targets::judge(report, &mut targets);
        return targets;
    }
    for scale in report.scales() {
        let judged = Judged { report, scale };
        writes(&judged, &mut targets);
        reads(&judged, &mut targets);
        syncs(&judged, &mut targets);
        space(&judged, &mut targets);
        soak(&judged, &mut targets);
        reopen(&judged, &mut targets);
    }
    memory_series(report, &mut targets);
    targets
}

/// One scale of a run.
pub(super) struct Judged<'a> {
    pub(super) report: &'a Report,
    pub(super) scale: &'a str,
}

impl Judged<'_> {
    pub(super) fn kvs(&self, metric: &str) -> Option<f64> {
        self.report.median(self.scale, KVS, metric)
    }

    fn limit(&self, metric: &str) -> Option<f64> {
        self.report.median(self.scale, limits::NAME, metric)
    }

    fn target(&self, text: &str, measured: Option<String>, reached: Option<bool>) -> Target {
        let measured = measured.unwrap_or_else(|| "-".into());
        Target { text: text.into(), at: self.scale.into(), measured, reached }
    }

    /// KVS is to have `factor` times the rate of the best rival.
    fn beats(&self, metric_id: &str, text: &str, factor: f64) -> Target {
        let metric = METRICS.iter().find(|metric| metric.id == metric_id);
        let best = metric.and_then(|metric| self.report.best_rival(self.scale, metric));
        let ratio = best.and_then(|rival| self.report.ratio(self.scale, metric_id, rival));
        let measured = ratio.as_ref().map(|ratio| {
            let range = format!("{}–{}", digits(ratio.min), digits(ratio.max));
            format!("{} x {} ({range})", digits(ratio.value), ratio.rival)
        });
        let text = format!("{text} >= {factor} x best rival");
        self.target(&text, measured, ratio.map(|ratio| ratio.value >= factor))
    }

    /// The ratio of KVS to one rival is to be as `is_reached` says.
    pub(super) fn beside(
        &self,
        metric: &str,
        rival: &str,
        text: &str,
        is_reached: impl Fn(f64) -> bool,
    ) -> Target {
        let ratio = self.report.ratio(self.scale, metric, rival);
        let measured = ratio.as_ref().map(|ratio| {
            let range = format!("{}–{}", digits(ratio.min), digits(ratio.max));
            format!("{} ({range})", digits(ratio.value))
        });
        self.target(text, measured, ratio.map(|ratio| is_reached(ratio.value)))
    }

    /// A value of KVS is to be at least `factor` times another.
    pub(super) fn at_least(
        &self,
        value: Option<f64>,
        of: Option<f64>,
        factor: f64,
        text: &str,
    ) -> Target {
        let ratio = value.zip(of).map(|(value, of)| value / of);
        let measured = ratio.map(digits);
        self.target(text, measured, ratio.map(|ratio| ratio >= factor))
    }

    /// A value is to be at most `most`.
    fn at_most(&self, value: Option<f64>, most: f64, text: &str) -> Target {
        self.target(text, value.map(digits), value.map(|value| value <= most))
    }
}

fn writes(at: &Judged, out: &mut Vec<Target>) {
    out.push(at.beats("load", "load by single sets", 1.4));
    let text = "load by single sets >= 0.75 x one bare pwrite per record";
    out.push(at.at_least(at.kvs("load"), at.limit("limit_pwrite"), 0.75, text));
    out.push(at.beats("batch", "load by batches of 100", 3.0));
}

fn reads(at: &Judged, out: &mut Vec<Target>) {
    out.push(at.beats("get_1", "random get, 1 thread", 1.4));
    let text = "random get, 2 threads >= 1.7 x its own 1 thread";
    out.push(at.at_least(at.kvs("get_2"), at.kvs("get_1"), 1.7, text));
    out.push(at.beats("miss", "miss", 1.3));
    out.push(at.beats("scan_100", "scan of 100 keys", 1.0));
    out.push(at.beats("scan_all", "scan of all keys", 1.0));
    out.push(at.beats("mixed_uniform", "half and half, 2 threads, uniform", 1.1));
    out.push(at.beats("mixed_zipfian", "half and half, 2 threads, zipfian", 1.1));
}

fn syncs(at: &Judged, out: &mut Vec<Target>) {
    // The faster of the two kinds of preallocation is the limit.
    let limits = [at.limit("limit_sync_allocated"), at.limit("limit_sync_written")];
    let limit = limits.into_iter().flatten().max_by(f64::total_cmp);
    let text = "synced set, 1 thread >= 0.9 x the bare limit";
    out.push(at.at_least(at.kvs("sync_1"), limit, 0.9, text));
    out.push(at.beats("sync_8", "synced set, 8 threads", 1.2));
    let text = "synced set, 64 threads >= 15 x its own 1 thread";
    out.push(at.at_least(at.kvs("sync_64"), at.kvs("sync_1"), 15.0, text));
}

fn space(at: &Judged, out: &mut Vec<Target>) {
    let text = "memory <= 16 bytes per key, beside the other workloads";
    out.push(at.at_most(at.kvs("memory"), MEMORY_BYTES, text));
    let text = "disk after load, hints included <= 1.4 x keys and values";
    out.push(at.at_most(at.kvs("disk"), 1.4, text));
}

fn soak(at: &Judged, out: &mut Vec<Target>) {
    let text = "soak: (segment files - 2 segments) / live <= 1.5 throughout";
    let worst = at.report.summary(at.scale, KVS, "soak_bound").map(|summary| summary.max);
    out.push(at.at_most(worst, 1.5, text));
    for (suffix, what) in [("", "of the call"), ("_due", "from when it was due")] {
        let with = at.kvs(&format!("half_p99_us{suffix}"));
        let without = at.kvs(&format!("half_p99_off_us{suffix}"));
        let ratio = with.zip(without).map(|(with, without)| with / without);
        let measured = with.zip(without).zip(ratio).map(|((with, without), ratio)| {
            let (with, without) = (show(with, Unit::Micros), show(without, Unit::Micros));
            format!("{} ({with} / {without})", digits(ratio))
        });
        let text = format!("half the saturated rate: p99 of set {what}, compaction on <= 2 x off");
        out.push(at.target(&text, measured, ratio.map(|ratio| ratio <= 2.0)));
    }
}

fn reopen(at: &Judged, out: &mut Vec<Target>) {
    let kinds = [("reopen_close_ms", "after close"), ("reopen_kill_ms", "after kill -9")];
    for (metric, when) in kinds {
        for (rival, most) in [("emdb", 0.4), ("candystore", 1.0)] {
            let text = format!("reopen {when} <= {most} x {rival}");
            out.push(at.beside(metric, rival, &text, |ratio| ratio <= most));
        }
    }
    let lost = at.report.summary(at.scale, KVS, "kill_missing").map(|summary| summary.max);
    let text = "no acknowledged key is missing after the kill -9";
    let measured = lost.map(|share| show(share, Unit::Share));
    out.push(at.target(text, measured, lost.map(|share| share == 0.0)));
}

/// The memory of KVS in processes of its own, by count and length of the keys.
fn memory_series(report: &Report, out: &mut Vec<Target>) {
    let mut seen: Vec<&str> = Vec::new();
    for sample in &report.samples {
        if sample.scale != MEMORY_SCALE || seen.contains(&sample.metric.as_str()) {
            continue;
        }
        seen.push(&sample.metric);
        let median = report.median(MEMORY_SCALE, KVS, &sample.metric);
        out.push(Target {
            text: "memory <= 16 bytes per key".into(),
            at: sample.metric.clone(),
            measured: median.map_or("-".into(), |bytes| show(bytes, Unit::BytesPerKey)),
            reached: median.map(|bytes| bytes <= MEMORY_BYTES),
        });
    }
}
