//! The report as a picture: a panel of bars per quantity, on a log scale, ranges as whiskers; the
//! soak as lines over time. Written by hand, so that the crate needs no plotting library.

use std::fmt::Write;

use crate::engines::KVS;
use crate::report::metrics::{Metric, Unit, show};
use crate::report::{Report, Summary};

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 400.0;
const LABEL_WIDTH: f64 = 80.0;
const BAR_WIDTH: f64 = 230.0;
const BAR_STEP: f64 = 16.0;
const TITLE_HEIGHT: f64 = 30.0;
const SOAK_HEIGHT: f64 = 260.0;
const COLOURS: &[&str] =
    &["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22"];

pub fn svg(report: &Report, scale: &str) -> String {
    let names = report.engines(scale);
    let has_data = |metric: &&Metric| {
        metric.unit != Unit::Share
            && names.iter().any(|name| report.summary(scale, name, metric.id).is_some())
    };
    let metrics: Vec<&Metric> = report.kind.metrics().filter(has_data).collect();
    let panel_height = TITLE_HEIGHT + names.len() as f64 * BAR_STEP + 14.0;
    let bars_height = metrics.len().div_ceil(COLUMNS) as f64 * panel_height;
    let width = PANEL_WIDTH * COLUMNS as f64;
    let soak_height = if report.soaks.is_empty() { 0.0 } else { SOAK_HEIGHT };
    let height = 40.0 + bars_height + soak_height;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let title = format!("{}; {}; log scales", report.kind.scale_title(scale), report.machine.cpu);
    text(&mut svg, 10.0, 22.0, "font-size=\"15\" font-weight=\"bold\"", &title);
    for (place, metric) in metrics.iter().enumerate() {
        let x = 10.0 + (place % COLUMNS) as f64 * PANEL_WIDTH;
        let y = 40.0 + (place / COLUMNS) as f64 * panel_height;
        panel(&mut svg, report, scale, metric, (x, y));
    }
    soak(&mut svg, report, scale, 40.0 + bars_height, width);
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>");
}

fn colour(report: &Report, engine: &str) -> &'static str {
    let place = report.kind.names().iter().position(|name| *name == engine).unwrap_or(0);
    COLOURS[place % COLOURS.len()]
}

fn panel(svg: &mut String, report: &Report, scale: &str, metric: &Metric, at: (f64, f64)) {
    let (x, y) = at;
    let better = if metric.higher_is_better { "" } else { " (less is better)" };
    let title = format!("{}{better}", metric.title);
    text(svg, x, y + 18.0, "font-weight=\"bold\"", &title);
    let all: Vec<(&str, Summary)> = report
        .engines(scale)
        .into_iter()
        .filter_map(|name| Some((name, report.summary(scale, name, metric.id)?)))
        .collect();
    let axis = Axis::over(all.iter().flat_map(|(_, summary)| [summary.min, summary.max]));
    for (place, (name, summary)) in all.iter().enumerate() {
        let top = y + TITLE_HEIGHT + place as f64 * BAR_STEP;
        let left = x + LABEL_WIDTH;
        let at = |value| left + axis.share(value) * BAR_WIDTH;
        let weight = if *name == KVS { "font-weight=\"bold\"" } else { "" };
        text(svg, x, top + 10.0, weight, name);
        let length = at(summary.median) - left;
        let fill = colour(report, name);
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"12\" \
             fill=\"{fill}\" fill-opacity=\"0.75\"/>"
        );
        let (low, high, middle) = (at(summary.min), at(summary.max), top + 6.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {top:.1}v12M{high:.1} \
             {top:.1}v12\" stroke=\"black\" fill=\"none\"/>"
        );
        let value = show(summary.median, metric.unit);
        text(svg, high + 4.0, top + 10.0, weight, &value);
    }
}

/// A log scale from below the least to the greatest of the values.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Axis {
        let logs: Vec<f64> = values.map(log).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Axis { low: low - 0.3, high: high.max(low + 0.1) }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((log(value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn log(value: f64) -> f64 {
    value.max(1e-3).log10()
}

fn soak(svg: &mut String, report: &Report, scale: &str, top: f64, width: f64) {
    let first: Vec<_> =
        report.soaks.iter().filter(|soak| soak.scale == scale && soak.round == 0).collect();
    if first.is_empty() {
        return;
    }
    text(
        svg,
        10.0,
        top + 18.0,
        "font-weight=\"bold\"",
        "overwrite soak: sets per second over time, first round",
    );
    let points = || first.iter().flat_map(|soak| &soak.points);
    let axis = Axis::over(points().map(|point| point.rate.max(1.0)));
    let seconds = points().map(|point| point.seconds).fold(1.0, f64::max);
    let (left, right) = (10.0 + LABEL_WIDTH, width - 120.0);
    let (upper, lower) = (top + TITLE_HEIGHT, top + SOAK_HEIGHT - 30.0);
    let height = lower - upper;
    for (edge, y) in [(axis.high, upper), (axis.low, lower)] {
        text(svg, 10.0, y + 4.0, "", &show(10_f64.powf(edge), Unit::PerSecond));
        let _ = writeln!(svg, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#cccccc\"/>");
    }
    text(svg, right - 30.0, lower + 16.0, "", &format!("{seconds:.0} s"));
    for (place, soak) in first.iter().enumerate() {
        let mut path = String::new();
        for point in &soak.points {
            let x = left + point.seconds / seconds * (right - left);
            let y = lower - axis.share(point.rate.max(1.0)) * height;
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let stroke = colour(report, &soak.engine);
        let _ = writeln!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"/>"
        );
        let legend = format!("fill=\"{stroke}\" font-weight=\"bold\"");
        text(svg, right + 10.0, upper + place as f64 * BAR_STEP, &legend, &soak.engine);
    }
}
