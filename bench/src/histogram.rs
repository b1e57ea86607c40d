//! A histogram of times with 64 buckets per power of two: a quantile is at most 1.6 % off.

const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }

    pub fn add(&mut self, nanos: u64) {
        self.add_times(nanos, 1);
    }

    /// Adds the same time more than once.
    pub fn add_times(&mut self, nanos: u64, times: u64) {
        self.counts[bucket(nanos)] += times;
        self.total += times;
    }

    /// Adds what another one holds.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| *own += other);
        self.total += other.total;
    }

    /// The time in microseconds that the share `q` of all does not exceed.
    pub fn quantile_us(&self, q: f64) -> f64 {
        let rank = (self.total as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return upper_end(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Times below `STEPS` have a bucket each; above, a power of two is cut into `STEPS` parts.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let power = u64::from(nanos.ilog2() - STEP_BITS);
    (power * STEPS + (nanos >> power)) as usize
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    (((bucket % STEPS + STEPS) as u128 + 1) << power).min(u64::MAX.into()) as u64 - 1
}
