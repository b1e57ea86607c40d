//! How long to wait before trying again: longer each time, and never as long as somebody else.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The delays of one series of attempts.
pub(crate) struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { longest, next: first }
    }

    /// The next delay: between half of what is due and all of it.
    fn delay(&mut self, random: u32) -> Duration {
        let due = self.next;
        self.next = due.saturating_mul(2).min(self.longest);
        let half = due / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Waits, but not beyond `deadline`.
    pub(crate) async fn wait(&mut self, deadline: Instant) {
        // Without randomness it is still a delay.
        let delay = self.delay(getrandom::u32().unwrap_or(u32::MAX));
        sleep_until(deadline.min(Instant::now() + delay)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Duration};

    #[test]
    fn delays_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        let full: Vec<_> = (0..4).map(|_| backoff.delay(u32::MAX)).collect();
        assert_eq!(full, [ms(100), ms(200), ms(350), ms(350)]);
        assert_eq!(backoff.delay(0), ms(175));
    }
}
