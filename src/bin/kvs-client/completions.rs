//! `kvs-client completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;
use kvs::cli::failure::Failure;
use kvs::cli::output;

/// Print a script that completes the command line in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs-client completions bash > \
                        ~/.local/share/bash-completion/completions/kvs-client")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "kvs-client", &mut script);
    output::print(&script)
}
