//! All results of a run, and the questions that tables, plots and targets ask of them.

pub mod json;
pub mod kind;
pub mod metrics;
pub mod plot;
pub mod server_targets;
pub mod table;
pub mod targets;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::Res;
use crate::engines;
use crate::machine::Machine;
use crate::plan::SoakPoint;
pub use kind::Kind;
use metrics::Metric;

#[derive(Serialize, Deserialize)]
pub struct Report {
    /// What was measured beside what. Files from before there was a choice do not say.
    #[serde(default)]
    pub kind: Kind,
    pub machine: Machine,
    pub command: String,
    /// Name and version of everything that was measured, and of the compiler.
    pub versions: Vec<(String, String)>,
    pub samples: Vec<Sample>,
    pub soaks: Vec<Soak>,
    /// What went wrong, in words.
    pub failures: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Sample {
    pub round: usize,
    pub scale: String,
    pub engine: String,
    pub metric: String,
    pub value: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Soak {
    pub round: usize,
    pub scale: String,
    pub engine: String,
    pub points: Vec<SoakPoint>,
}

/// The middle and the ends of a set of values.
#[derive(Clone, Copy)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// KVS measured against one rival.
pub struct Ratio<'a> {
    pub rival: &'a str,
    /// Of the medians.
    pub value: f64,
    /// Over the rounds, each with the values of that round.
    pub min: f64,
    pub max: f64,
}

impl Report {
    /// Writes the report in all its forms into the directory `out`.
    pub fn save(&self, out: &Path) -> Res<()> {
        std::fs::create_dir_all(out)?;
        json::save(self, &out.join("results.json"))?;
        std::fs::write(out.join("results.md"), table::markdown(self))?;
        for scale in self.scales() {
            let svg = plot::svg(self, scale);
            std::fs::write(out.join(format!("results-{scale}.svg")), svg)?;
        }
        Ok(())
    }

    /// The scales that engines were measured at, in the order of the run.
    pub fn scales(&self) -> Vec<&str> {
        distinct(self.samples.iter().map(|sample| sample.scale.as_str()))
            .into_iter()
            .filter(|scale| *scale != metrics::MEMORY_SCALE)
            .collect()
    }

    /// The engines that have results at a scale, in the order of the tables.
    pub fn engines(&self, scale: &str) -> Vec<&str> {
        let at_scale = self.samples.iter().filter(|sample| sample.scale == scale);
        let mut names = distinct(at_scale.map(|sample| sample.engine.as_str()));
        names.retain(|name| *name != crate::limits::NAME);
        let known = self.kind.names();
        names.sort_by_key(|name| known.iter().position(|known| known == name));
        names
    }

    pub fn rounds(&self) -> usize {
        self.samples.iter().map(|sample| sample.round).max().map_or(0, |last| last + 1)
    }

    pub fn summary(&self, scale: &str, engine: &str, metric: &str) -> Option<Summary> {
        summarise((0..self.rounds()).filter_map(|r| self.value(r, scale, engine, metric)))
    }

    pub fn median(&self, scale: &str, engine: &str, metric: &str) -> Option<f64> {
        Some(self.summary(scale, engine, metric)?.median)
    }

    fn value(&self, round: usize, scale: &str, engine: &str, metric: &str) -> Option<f64> {
        let wanted = |sample: &&Sample| {
            sample.round == round
                && sample.scale == scale
                && sample.engine == engine
                && sample.metric == metric
        };
        Some(self.samples.iter().find(wanted)?.value)
    }

    /// The rival with the best median.
    pub fn best_rival(&self, scale: &str, metric: &Metric) -> Option<&str> {
        let names = self.engines(scale).into_iter();
        let rivals = names.filter(|name| engines::counts_as_rival(name, metric.id));
        let known = rivals.filter_map(|name| Some((name, self.median(scale, name, metric.id)?)));
        let best = if metric.higher_is_better {
            known.max_by(|a, b| a.1.total_cmp(&b.1))
        } else {
            known.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        Some(best?.0)
    }

    /// KVS over `rival`.
    pub fn ratio<'a>(&self, scale: &str, metric: &str, rival: &'a str) -> Option<Ratio<'a>> {
        let of = |engine| self.median(scale, engine, metric);
        let value = of(engines::KVS)? / of(rival)?;
        let by_round = (0..self.rounds()).filter_map(|round| {
            let of = |engine| self.value(round, scale, engine, metric);
            Some(of(engines::KVS)? / of(rival)?)
        });
        let Summary { min, max, .. } = summarise(by_round)?;
        Some(Ratio { rival, value, min, max })
    }
}

fn summarise(values: impl Iterator<Item = f64>) -> Option<Summary> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    };
    Some(Summary { median, min, max })
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
