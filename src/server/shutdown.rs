//! `Shutdown`: first everybody is told to come to an end, then it is over.

use std::future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Over,
}

/// Tells everybody who has a clone of it when the server is to end.
#[derive(Clone)]
pub(crate) struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
}

impl Shutdown {
    /// Nobody has asked for the end yet.
    pub(crate) fn new() -> Shutdown {
        Shutdown { phase: Arc::new(watch::Sender::new(Phase::Running)) }
    }

    /// Asks for the end, if nobody has yet: connections finish what they are at.
    pub(crate) fn begin(&self) {
        self.phase.send_modify(|phase| *phase = (*phase).max(Phase::Draining));
    }

    /// Asks for the end: the first time, connections finish what they are at; the second time,
    /// nobody waits for them.
    pub(crate) fn request(&self) {
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Draining,
                Phase::Draining | Phase::Over => Phase::Over,
            }
        });
    }

    /// Whether the end was asked for.
    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Comes back when the end was asked for.
    pub(crate) async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Comes back when nobody waits any more.
    pub(crate) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, wanted: Phase) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`.
        if phase.wait_for(|phase| *phase >= wanted).await.is_err() {
            future::pending::<()>().await;
        }
    }
}

/// Lets SIGTERM and SIGINT ask for the end, and calls `reload` at each SIGHUP, as long as the
/// future that this gives is polled. From then on they do nothing else.
///
/// # Errors
/// If the operating system takes no handler.
pub(crate) fn on_signals(
    shutdown: Shutdown,
    reload: impl Fn() + Send + 'static,
) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    reload();
                    continue;
                }
            };
            match shutdown.is_draining() {
                true => info!("{name} again: ending at once"),
                false => info!("{name}: ending when the connections are done"),
            }
            shutdown.request();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Shutdown;

    #[tokio::test]
    async fn the_first_request_drains_and_the_second_ends() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_draining());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.over().await }
        });
        shutdown.request();
        shutdown.draining().await;
        shutdown.begin();
        tokio::task::yield_now().await;
        assert!(shutdown.is_draining() && !waiting.is_finished());
        shutdown.request();
        waiting.await.unwrap();
        shutdown.draining().await;
    }
}
