//! The results as JSON: every sample, so that other reports can be made from the file.

use std::path::Path;

use crate::engine::Res;
use crate::report::Report;

pub fn save(report: &Report, path: &Path) -> Res<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(std::fs::write(path, text)?)
}

pub fn load(path: &Path) -> Res<Report> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}
