//! Following: waiting for more to print until somebody interrupts it, or nobody reads it any more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;
use crate::output::STDOUT;

/// Whether somebody has asked for the end, by SIGINT or SIGTERM.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for signals from here on. The second one ends the process where it stands.
    pub fn listen() -> Result<Interrupt, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let listening = flag::register_conditional_default(signal, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)));
            listening.map_err(|source| failure("listen for signals on", source))?;
        }
        Ok(Interrupt(asked))
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Rests for so long, or until a signal comes. An error as soon as nobody reads standard
    /// output, which a write would tell only when there is something to print.
    pub fn rest(&self, time: Duration) -> Result<(), Failure> {
        let time = Timespec::try_from(time).ok();
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, time.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => Err(Failure::OutputClosed),
            Err(error) => Err(failure("wait for the reader of", error.into())),
        }
    }
}

fn failure(action: &'static str, source: io::Error) -> Failure {
    Failure::Io { action, name: STDOUT.to_owned(), source }
}
