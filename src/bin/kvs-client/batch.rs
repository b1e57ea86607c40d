//! `kvs-client batch FILE`: the lines of a file, all or nothing.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kvs::cli::failure::{BadLine, Failure, show_key};
use kvs::cli::format::Format;
use kvs::cli::input::Input;
use kvs::cli::output;
use kvs::client::{BlockingKvsClient, ClientError, ErrorCode};
use kvs::{Batch, Expected};

use crate::words;

const EXAMPLES: &str = "\
A file:
  # What must hold before:
  require stock/7 --version 1234
  require order/99 --absent
  # What is done then:
  set order/99 'one of stock/7'
  set stock/7 41 --expire-after-ms 60000
  rm \"basket 5\"

Words are split as a shell does it: 'as it is', \"with \\n, \\t, \\xHH\". The lines:
  set KEY VALUE [--expire-after-ms MS]
  rm KEY
  require KEY --absent | --present | --version N | --value V

Example:
  kvs-client batch changes.txt";

/// Write what the lines of a file say, all or nothing
///
/// Prints the version that the keys have then. Where something that is required does not hold,
/// nothing is written, the key is told on standard error, and the command ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file to read, or - for standard input
    file: PathBuf,
}

/// A line of the file.
#[derive(Debug, Parser)]
#[command(multicall = true, disable_help_flag = true, disable_help_subcommand = true)]
enum Line {
    Set {
        #[arg(allow_negative_numbers = true)]
        key: OsString,
        #[arg(allow_negative_numbers = true)]
        value: OsString,
        #[arg(long)]
        expire_after_ms: Option<u64>,
    },
    Rm {
        #[arg(allow_negative_numbers = true)]
        key: OsString,
    },
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Require {
        #[arg(allow_negative_numbers = true)]
        key: OsString,
        #[arg(long, group = "what")]
        absent: bool,
        #[arg(long, group = "what")]
        present: bool,
        #[arg(long, group = "what")]
        version: Option<u64>,
        #[arg(long, group = "what")]
        value: Option<OsString>,
    },
}

/// Reads the file, writes it, and prints the version.
pub fn run(client: &BlockingKvsClient, args: &Args) -> Result<ExitCode, Failure> {
    let path = (args.file.as_os_str() != "-").then_some(args.file.as_path());
    let mut input = Input::open(path, Format::Tsv)?;
    let (mut batch, mut line) = (Batch::new(), Vec::new());
    let now_ms = client.ping()?;
    while input.next_line(&mut line)? {
        let bad = |reason: &str| input.bad_line(BadLine::Command { reason: reason.to_owned() });
        let words = words::split(&line).map_err(bad)?;
        let is_comment = line.trim_ascii_start().starts_with(b"#");
        if words.is_empty() || is_comment {
            continue;
        }
        let parsed = Line::try_parse_from(words).map_err(|error| bad(&first_line(&error)))?;
        add(parsed, now_ms, &mut batch);
    }
    match client.write(&batch) {
        Ok(written) => {
            output::print(format!("{}\n", written.seq).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ClientError::Server(error)) if error.code == ErrorCode::PreconditionFailed => {
            let _ = writeln!(stderr(), "Not as required: {}", show_key(&error.key));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

/// The first line of what clap says, without its name for it.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn add(line: Line, now_ms: u64, batch: &mut Batch) {
    match line {
        Line::Set { key, value, expire_after_ms: None } => {
            batch.set(key.into_vec(), value.into_vec());
        }
        Line::Set { key, value, expire_after_ms: Some(ms) } => {
            batch.set_until(key.into_vec(), value.into_vec(), now_ms.saturating_add(ms));
        }
        Line::Rm { key } => drop(batch.remove(key.into_vec())),
        Line::Require { key, present, version, value, absent: _ } => {
            let expected = match (version, value) {
                (Some(version), _) => Expected::Version(version),
                (None, Some(value)) => Expected::Value(value.into_vec()),
                (None, None) if present => Expected::Present,
                (None, None) => Expected::Absent,
            };
            batch.require(key.into_vec(), expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Line, Parser, add, first_line, words};

    fn parse(line: &str) -> Result<Line, String> {
        let words = words::split(line.as_bytes()).unwrap();
        Line::try_parse_from(words).map_err(|error| first_line(&error))
    }

    #[test]
    fn lines_are_commands() {
        let mut batch = Batch::new();
        for line in ["require a --absent", "set 'a b' -5 --expire-after-ms 7", "rm \\x00"] {
            add(parse(line).unwrap(), 100, &mut batch);
        }
        let mut expected = Batch::new();
        expected.require("a", kvs::Expected::Absent).set_until("a b", "-5", 107).remove("\0");
        assert_eq!(format!("{batch:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_line_that_is_none_is_told_in_a_sentence() {
        for (line, said) in [
            ("put a b", "unrecognized subcommand 'put'"),
            ("set a", "the following required arguments were not provided:"),
            ("require a", "the following required arguments were not provided:"),
            ("rm a b", "unexpected argument 'b' found"),
        ] {
            assert_eq!(parse(line).unwrap_err(), said);
        }
    }
}
