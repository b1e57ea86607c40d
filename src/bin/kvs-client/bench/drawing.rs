//! Times as lines: the usual quantiles, and a histogram of bars.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// The columns of the longest bar.
const BAR_COLUMNS: u64 = 50;

/// The mean, some quantiles and the longest, in one line.
pub fn summary(times: &Histogram<u64>) -> String {
    let mut text = format!("  mean {}", show(round(times.mean())));
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        // Writing to a string cannot fail.
        let _ = write!(text, "  {name} {}", show(times.value_at_quantile(quantile)));
    }
    let _ = writeln!(text, "  longest {}", show(times.max()));
    text
}

/// A bar for each range of times, three to a factor of ten, from the shortest to the longest.
pub fn histogram(times: &Histogram<u64>) -> String {
    let counts: Vec<(u64, u64)> = bounds()
        .map(|(from, to)| (to, times.count_between(from, to - 1)))
        .skip_while(|(_, count)| *count == 0)
        .collect();
    let shown = counts.iter().rposition(|(_, count)| *count > 0).map_or(0, |last| last + 1);
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let mut text = String::new();
    for (to, count) in counts.iter().take(shown) {
        let columns = count.saturating_mul(BAR_COLUMNS).div_ceil(most);
        let bar = "#".repeat(usize::try_from(columns).unwrap_or_default());
        let percent = count.saturating_mul(1000) / times.len().max(1);
        let (whole, tenth) = (percent / 10, percent % 10);
        let _ = writeln!(text, "  < {:>8}  {whole:>3}.{tenth} %  {bar}", show(*to));
    }
    text
}

/// From 0 on: 1, 2 and 5 microseconds, 10, 20 and 50, and so on.
fn bounds() -> impl Iterator<Item = (u64, u64)> {
    let powers = (0..9).map(|power| 1_000 * 10_u64.pow(power));
    let ends = powers.flat_map(|power| [power, 2 * power, 5 * power]);
    ends.scan(0, |from, to| Some((std::mem::replace(from, to), to)))
}

/// A time in the unit that fits, from nanoseconds.
fn show(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{}.{} us", ns / 1_000, ns % 1_000 / 100),
        1_000_000..1_000_000_000 => {
            format!("{}.{} ms", ns / 1_000_000, ns % 1_000_000 / 100_000)
        }
        _ => format!("{}.{} s", ns / 1_000_000_000, ns % 1_000_000_000 / 100_000_000),
    }
}

/// A time that is not negative, in whole nanoseconds.
fn round(ns: f64) -> u64 {
    u64::try_from(std::time::Duration::from_secs_f64(ns.max(0.0) / 1e9).as_nanos())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Histogram, bounds, histogram, show, summary};

    #[test]
    fn each_time_is_in_one_bar() {
        let mut times = Histogram::new(3).unwrap();
        for ns in [1_500, 3_000, 3_000, 4_999, 60_000_000] {
            times.record(ns).unwrap();
        }
        let drawn = histogram(&times);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[0].starts_with("  <   2.0 us   20.0 %  ####"), "{drawn}");
        assert!(lines[1].starts_with("  <   5.0 us   60.0 %  ####"), "{drawn}");
        assert!(lines.last().unwrap().starts_with("  < 100.0 ms   20.0 %"), "{drawn}");
        assert_eq!(lines[1].matches('#').count(), 50);
        assert_eq!(lines.len(), 15);
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let cases = [(0, "0.0 us"), (1_550, "1.5 us"), (999_999, "999.9 us")];
        let longer = [(1_000_000, "1.0 ms"), (61_200_000_000, "61.2 s")];
        for (ns, text) in cases.into_iter().chain(longer) {
            assert_eq!(show(ns), text);
        }
        assert!(summary(&Histogram::new(2).unwrap()).starts_with("  mean 0.0 us"));
    }

    #[test]
    fn the_bounds_have_no_gap() {
        let all: Vec<_> = bounds().collect();
        assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!((all[0], all.last().unwrap().1), ((0, 1_000), 500_000_000_000));
    }
}
