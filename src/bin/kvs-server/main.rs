//! `kvs-server`: a store that clients reach over the network.
//!
//! Exit codes: 0 ended as asked, 1 an error, 2 a configuration that makes no sense. An error is
//! one sentence on standard error.

use std::env;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::thread::available_parallelism;

use kvs::KvsServer;
use kvs::server::config::{ConfigError, Loaded};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let loaded = match Loaded::new(env::args_os(), env::vars_os()) {
        Ok(loaded) => loaded,
        // Help and version come this way, too.
        Err(ConfigError::CommandLine(error)) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        Err(error) => return fail(2, error),
    };
    if loaded.print_config {
        return match std::io::stdout().write_all(loaded.to_toml().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, error),
        };
    }
    let runtime = match runtime(loaded.config.worker_threads) {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, format!("cannot start threads: {error}")),
    };
    let server = KvsServer::from(loaded);
    let server = match env::var_os("KVS_PASSWORD") {
        Some(password) => server.password(password),
        None => server,
    };
    let served = runtime.block_on(server.run());
    // Whoever is still at it, after that, is not waited for.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, error),
    }
}

fn runtime(worker_threads: u32) -> std::io::Result<Runtime> {
    let threads = match worker_threads {
        // The one that is left is for compaction, syncs and what the system does for the network.
        // Never one alone: a value that has to come from the disk would stop everybody.
        0 => available_parallelism().map_or(2, |all| all.get().saturating_sub(1).max(2)),
        threads => usize::try_from(threads).unwrap_or(usize::MAX),
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("kvs-server")
        .enable_all()
        .build()
}

/// Tells what is wrong. Where standard error is closed, the exit code is all that is left to say.
fn fail(code: u8, error: impl Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "kvs-server: {error}");
    ExitCode::from(code)
}
