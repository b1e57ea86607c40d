//! What the service manager is told, where there is one (`sd_notify`).
//!
//! Without the variable `NOTIFY_SOCKET` all of it does nothing; a manager that does not listen is
//! no reason to stop serving.

use std::env;
use std::process;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// The server takes connections.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The server is on its way to its end.
pub(crate) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// What it is doing.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells the manager's watchdog that the server is alive, twice in the time that it allows, as long
/// as it is polled. It runs where connections do: if they stand still, so does it. None: there is
/// no watchdog.
pub(crate) fn watch() -> Option<impl Future<Output = ()> + Send> {
    let variable = |name| env::var(name).ok();
    let limit = limit(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"))?;
    Some(async move {
        let mut ticks = interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    })
}

/// How long the watchdog waits for a sign of life, if it watches this process.
fn limit(usec: Option<String>, pid: Option<String>) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(process::id()));
    let usec: u64 = usec?.parse().ok()?;
    (is_ours && usec >= 2).then(|| Duration::from_micros(usec))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!("cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::limit;

    #[test]
    fn the_watchdog_is_this_process_s_own() {
        let limit = |usec: &str, pid: Option<u32>| {
            limit(Some(usec.to_owned()), pid.map(|pid| pid.to_string()))
        };
        assert_eq!(limit("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(limit("5", Some(std::process::id())), Some(Duration::from_micros(5)));
        assert_eq!(limit("5", Some(0)), None);
        assert_eq!(limit("0", None), None);
        assert_eq!(limit("x", None), None);
        assert_eq!(super::limit(None, None), None);
    }
}
