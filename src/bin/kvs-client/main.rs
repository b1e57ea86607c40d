//! `kvs-client`: a server from the command line.
//!
//! Each subcommand is one file: its arguments as typed, then what it does. Results go to standard
//! output; an error is one sentence on standard error. Exit codes: 0 done, 1 an error, 2 a command
//! line that makes no sense, 141 (as if by SIGPIPE, and without a word) nobody reads the output.

mod connect;
mod password;
mod words;

mod batch;
mod bench;
mod cas;
mod completions;
mod expire;
mod export;
mod get;
mod import;
mod incr;
mod ping;
mod rm;
mod scan;
mod set;
mod stats;
mod sync;
mod ttl;
mod watch;

mod prompt;

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use kvs::cli::failure::Failure;
use kvs::client::BlockingKvsClient;

const EXAMPLES: &str = "\
Examples:
  kvs-client set city Utrecht
  kvs-client get city                            prints: Utrecht
  kvs-client --addr db.test:4000 scan --prefix user/
  kvs-client import records.tsv.gz
  kvs-client bench --clients 50 --pipeline 16
  kvs-client                                     a prompt

Keys and values are bytes. Put -- before one that begins with a hyphen:
  kvs-client set -- -key -value

The password of the server comes from --password-file or from the variable KVS_PASSWORD, never from
the command line, which every user of the machine can read.

Exit codes: 0 done; 1 an error, told in one sentence on standard error; 2 a command line that
makes no sense; 141 the output was not read to its end.";

/// A client of kvs-server. Without a command it asks for commands, if it runs on a terminal.
#[derive(Debug, Parser)]
#[command(name = "kvs-client", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    server: connect::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(set::Args),
    Get(get::Args),
    Rm(rm::Args),
    Incr(incr::Args),
    Cas(cas::Args),
    Expire(expire::Args),
    Ttl(ttl::Args),
    Scan(scan::Args),
    Batch(batch::Args),
    Import(import::Args),
    Export(export::Args),
    Watch(watch::Args),
    Sync(sync::Args),
    Stats(stats::Args),
    Ping(ping::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Says what went wrong, in one sentence on standard error.
fn complain(failure: &Failure) {
    // Where nobody reads on, nobody needs a sentence; nor where standard error is closed.
    if !matches!(failure, Failure::OutputClosed) {
        let _ = writeln!(stderr(), "kvs-client: {failure}");
    }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Some(Command::Completions(args)) => done(completions::run(&args)),
        Some(Command::Bench(args)) => done(bench::run(&cli.server, &args)),
        Some(command) => {
            let client = cli.server.connect()?;
            run(&client, &cli.server, command)
        }
        None if stdin().is_terminal() && stdout().is_terminal() => done(prompt::run(&cli.server)),
        None => {
            let help = Cli::command().render_help();
            let _ = write!(stderr(), "{help}");
            Ok(ExitCode::from(2))
        }
    }
}

/// Runs a command, of the command line or of the prompt.
fn run(
    client: &BlockingKvsClient,
    server: &connect::Args,
    command: Command,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Set(args) => done(set::run(client, args)),
        Command::Get(args) => done(get::run(client, args)),
        Command::Rm(args) => rm::run(client, args),
        Command::Incr(args) => done(incr::run(client, args)),
        Command::Cas(args) => cas::run(client, args),
        Command::Expire(args) => expire::run(client, args),
        Command::Ttl(args) => done(ttl::run(client, args)),
        Command::Scan(args) => done(scan::run(client, args)),
        Command::Batch(args) => batch::run(client, &args),
        Command::Import(args) => done(import::run(client, &args)),
        Command::Export(args) => done(export::run(client, &args)),
        Command::Watch(args) => done(watch::run(client, args)),
        Command::Sync(args) => done(sync::run(client, &args)),
        Command::Stats(args) => done(stats::run(client, &args)),
        Command::Ping(args) => done(ping::run(client, server, &args)),
        Command::Bench(args) => done(bench::run(server, &args)),
        Command::Completions(args) => done(completions::run(&args)),
    }
}

fn done(result: Result<(), Failure>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS)
}
