//! The report as Markdown: machine, targets, a table per scale, notes.

use std::fmt::Write;
use std::path::Path;

use crate::limits;
use crate::report::metrics::{LIMITS, Metric, digits, show};
use crate::report::targets::{self, Target};
use crate::report::{Report, Summary};

/// Shows the report on standard output, and where it was saved.
pub fn print(report: &Report, out: &Path) {
    println!("{}", markdown(report));
    println!("saved in {}", out.display());
}

pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    head(&mut text, report);
    target_list(&mut text, report);
    for scale in report.scales() {
        section(&mut text, &format!("Results at {}", report.kind.scale_title(scale)));
        engine_table(&mut text, report, scale);
        limit_table(&mut text, report, scale);
        line(&mut text, &format!("![Plot](results-{scale}.svg)\n"));
    }
    section(&mut text, "How it was measured");
    for note in report.kind.notes() {
        line(&mut text, &format!("- {note}"));
    }
    if !report.failures.is_empty() {
        section(&mut text, "What failed");
        for failure in &report.failures {
            line(&mut text, &format!("- {failure}"));
        }
    }
    text
}

fn line(text: &mut String, add: &str) {
    text.push_str(add);
    text.push('\n');
}

fn section(text: &mut String, title: &str) {
    line(text, &format!("\n## {title}\n"));
}

fn head(text: &mut String, report: &Report) {
    let machine = &report.machine;
    line(text, &format!("# {}\n", report.kind.title()));
    line(text, &format!("- command: `{}`", report.command));
    line(
        text,
        &format!(
            "- machine: {}, {} cores, {} GiB, Linux {}, {}; load average before: {}",
            machine.cpu,
            machine.cores,
            machine.memory_gib,
            machine.kernel,
            machine.file_system,
            machine.load_before
        ),
    );
    let versions: Vec<String> =
        report.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    line(text, &format!("- versions: {}", versions.join(", ")));
    let rounds = report.rounds();
    line(text, &format!("- rounds: {rounds}; a cell is the median and, in brackets, the range"));
}

fn target_list(text: &mut String, report: &Report) {
    section(text, "Targets");
    line(text, "| target | at | measured | |");
    line(text, "|---|---|---|---|");
    for Target { text: target, at, measured, reached } in targets::judge(report) {
        let verdict = match reached {
            Some(true) => "reached",
            Some(false) => "**not reached**",
            None => "not measured",
        };
        line(text, &format!("| {target} | {at} | {measured} | {verdict} |"));
    }
}

fn engine_table(text: &mut String, report: &Report, scale: &str) {
    let names = report.engines(scale);
    line(text, &format!("| | {} | best rival | KVS / best |", names.join(" | ")));
    line(text, &format!("|---|{}", "---|".repeat(names.len() + 2)));
    for metric in report.kind.metrics() {
        if names.iter().all(|name| report.summary(scale, name, metric.id).is_none()) {
            continue;
        }
        let mut row = format!("| {} |", metric.title);
        for name in &names {
            let cell = report.summary(scale, name, metric.id);
            let shown = cell.map_or("-".into(), |summary| with_range(summary, metric));
            let _ = write!(row, " {shown} |");
        }
        let ratio = metric
            .compared
            .then(|| report.ratio(scale, metric.id, report.best_rival(scale, metric)?))
            .flatten();
        match ratio {
            Some(ratio) => {
                let (value, min, max) = (digits(ratio.value), ratio.min, ratio.max);
                let range = format!("{}–{}", digits(min), digits(max));
                let _ = write!(row, " {} | {value} ({range}) |", ratio.rival);
            }
            None => row.push_str(" | |"),
        }
        line(text, &row);
    }
    line(text, "");
}

fn limit_table(text: &mut String, report: &Report, scale: &str) {
    let measured: Vec<(&Metric, Summary)> = LIMITS
        .iter()
        .filter_map(|limit| Some((limit, report.summary(scale, limits::NAME, limit.id)?)))
        .collect();
    if measured.is_empty() {
        return;
    }
    line(text, "| limit of the machine, same run | |");
    line(text, "|---|---|");
    for (limit, summary) in measured {
        line(text, &format!("| {} | {} |", limit.title, with_range(summary, limit)));
    }
    line(text, "");
}

/// `0.69 M/s (0.66–0.71)`, the range in the unit of the median.
fn with_range(summary: Summary, metric: &Metric) -> String {
    let median = show(summary.median, metric.unit);
    if summary.min == summary.max {
        return median;
    }
    let scale = match median.split(' ').nth(1) {
        Some("M/s") => 1e-6,
        Some("k/s") => 1e-3,
        Some("%") => 100.0,
        _ => 1.0,
    };
    format!("{median} ({}–{})", digits(summary.min * scale), digits(summary.max * scale))
}
