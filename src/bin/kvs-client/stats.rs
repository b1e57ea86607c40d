//! `kvs-client stats`.

use std::fmt::Write;

use indicatif::{BinaryBytes, HumanCount};
use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::{BlockingKvsClient, ServerInfo, ServerStats};
use serde_json::{Map, Value, json};

/// Show what the server counts
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs-client stats --json")]
pub struct Args {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(client: &BlockingKvsClient, args: &Args) -> Result<(), Failure> {
    let stats = client.stats()?;
    let text = if args.json {
        to_json(&client.server(), &stats)?
    } else {
        to_text(&client.server(), &stats)
    };
    output::print(text.as_bytes())
}

fn to_text(server: &ServerInfo, stats: &ServerStats) -> String {
    let mut text = format!(
        "server             {} {}\nengine             {}\nkeys               {}\n\
         expiring keys      {}\non disk            {}\nindex in memory    {}\n",
        server.software,
        server.version,
        server.engine,
        HumanCount(stats.keys),
        HumanCount(stats.expiring_keys),
        BinaryBytes(stats.disk_bytes),
        BinaryBytes(stats.index_bytes),
    );
    let width = stats.figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
    for figure in &stats.figures {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<width$}  {}", figure.name, figure.value);
    }
    text
}

fn to_json(server: &ServerInfo, stats: &ServerStats) -> Result<String, Failure> {
    let figures: Map<String, Value> =
        stats.figures.iter().map(|figure| (figure.name.clone(), json!(figure.value))).collect();
    let all = json!({
        "server": server.software,
        "version": server.version,
        "engine": server.engine,
        "keys": stats.keys,
        "expiring_keys": stats.expiring_keys,
        "disk_bytes": stats.disk_bytes,
        "index_bytes": stats.index_bytes,
        "figures": figures,
    });
    let mut text = serde_json::to_string_pretty(&all)?;
    text.push('\n');
    Ok(text)
}
