//! `kvs-client cas KEY NEW`.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use kvs::Expected;
use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::{BlockingKvsClient, Swap};

const EXAMPLES: &str = "\
Examples:
  kvs-client cas leader me --absent
  kvs-client cas city Paris --value Utrecht
  kvs-client cas city --remove --version 17";

/// Give a key a value, or remove it, if it is as expected
///
/// Prints the version that the key has then. Where it is not as expected, says so and what it has
/// on standard error, writes nothing and ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The key: any bytes, at most 1 MiB
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// Its new value
    #[arg(allow_negative_numbers = true, required_unless_present = "remove")]
    new: Option<OsString>,
    /// Remove it
    #[arg(long, conflicts_with = "new")]
    remove: bool,
    #[command(flatten)]
    expected: ExpectedArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ExpectedArgs {
    /// It has no value
    #[arg(long)]
    absent: bool,
    /// It has a value
    #[arg(long)]
    present: bool,
    /// Its version is this one
    #[arg(long)]
    version: Option<u64>,
    /// Its value is this one
    #[arg(long)]
    value: Option<OsString>,
}

impl ExpectedArgs {
    fn expected(self) -> Expected {
        match (self.version, self.value) {
            (Some(version), _) => Expected::Version(version),
            (None, Some(value)) => Expected::Value(value.into_vec()),
            (None, None) if self.present => Expected::Present,
            (None, None) => Expected::Absent,
        }
    }
}

/// Swaps, and prints the version.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<ExitCode, Failure> {
    let new = args.new.map(OsString::into_vec);
    match client.compare_and_swap(args.key.into_vec(), args.expected.expected(), new)? {
        Swap::Done(written) => {
            output::print(format!("{}\n", written.seq).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Swap::Refused(current) => {
            let mut line = b"Not as expected: ".to_vec();
            match current {
                None => line.extend_from_slice(b"it has no value"),
                Some(found) => {
                    line.extend_from_slice(format!("version {}, value ", found.seq).as_bytes());
                    line.extend_from_slice(&found.value);
                }
            }
            line.push(b'\n');
            let _ = stderr().write_all(&line);
            Ok(ExitCode::FAILURE)
        }
    }
}
