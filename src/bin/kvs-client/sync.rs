//! `kvs-client sync`.

use kvs::cli::failure::Failure;
use kvs::client::BlockingKvsClient;

/// Make everything durable that was acknowledged before
///
/// Prints nothing. When the command ends with 0, it is on the disk of the server.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Syncs.
pub fn run(client: &BlockingKvsClient, _args: &Args) -> Result<(), Failure> {
    Ok(client.sync()?)
}
