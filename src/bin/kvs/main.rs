//! `kvs`: a data directory from the command line.
//!
//! Each subcommand is one file: its arguments as typed, then what it does. Results go to standard
//! output; an error is one sentence on standard error. Exit codes: 0 done, 1 an error, 2 a command
//! line that makes no sense, 141 (as if by SIGPIPE, and without a word) nobody reads the output.

mod failure;
mod open;
mod follow;
mod progress;

mod format;
mod jsonl;
mod tsv;
mod zstd;

mod input;
mod output;

mod backup;
mod compact;
mod completions;
mod doctor;
mod expire;
mod export;
mod get;
mod import;
mod incr;
mod restore;
mod inspect;
mod rm;
mod salvage;
mod scan;
mod set;
mod stats;
mod ttl;
mod verify;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  kvs set city Utrecht                    write into the current directory
  kvs --dir data get city                 prints: Utrecht
  kvs --dir data import records.tsv.gz
  kvs --dir data export backup.jsonl.gz
  kvs --dir data stats

Keys and values are bytes. Put -- before one that begins with a hyphen:
  kvs set -- -key -value

Exit codes: 0 done; 1 an error, told in one sentence on standard error; 2 a command line that
makes no sense; 141 the output was not read to its end.";

/// A key-value store in a directory: an append-only log with an index in memory.
#[derive(Debug, Parser)]
#[command(name = "kvs", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// The directory that holds the store
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(set::Args),
    Get(get::Args),
    Rm(rm::Args),
    Incr(incr::Args),
    Expire(expire::Args),
    Ttl(ttl::Args),
    Scan(scan::Args),
    Watch(watch::Args),
    Import(import::Args),
    Export(export::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Stats(stats::Args),
    Compact(compact::Args),
    Verify(verify::Args),
    Doctor(doctor::Args),
    Inspect(inspect::Args),
    Salvage(salvage::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            // In `kvs export | head` nobody needs a sentence. But 0 would be a lie: what could
            // not be printed may have been that a key is missing or that the store is damaged.
            if !matches!(failure, Failure::OutputClosed) {
                // Where standard error is closed too, the exit code is all that is left to say.
                let _ = writeln!(std::io::stderr(), "kvs: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let dir = cli.dir.as_path();
    match cli.command {
        Command::Set(args) => set::run(dir, args),
        Command::Get(args) => get::run(dir, args),
        Command::Rm(args) => return rm::run(dir, args),
        Command::Incr(args) => incr::run(dir, args),
        Command::Expire(args) => return expire::run(dir, args),
        Command::Ttl(args) => ttl::run(dir, args),
        Command::Scan(args) => scan::run(dir, args),
        Command::Watch(args) => watch::run(dir, &args),
        Command::Import(args) => import::run(dir, &args),
        Command::Export(args) => export::run(dir, &args),
        Command::Backup(args) => backup::run(dir, &args),
        Command::Restore(args) => restore::run(&args),
        Command::Stats(args) => stats::run(dir, &args),
        Command::Compact(args) => compact::run(dir, &args),
        Command::Verify(args) => verify::run(dir, &args),
        Command::Doctor(args) => doctor::run(dir, &args),
        Command::Inspect(args) => inspect::run(dir, &args),
        Command::Salvage(args) => salvage::run(&args),
        Command::Completions(args) => completions::run(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}
