//! How long something took, counted in buckets whose bounds are powers of two.

use std::sync::atomic::AtomicU64;

use super::{add, add_at, get, zeros};

/// The bound of the first bucket is 2^10 ns, about a microsecond.
const FIRST_BITS: u32 = 10;
/// Buckets with a bound: the last one is 2^33 ns, about 8.6 seconds.
pub(super) const BOUNDED: usize = 24;
/// And one for what took longer.
const BUCKETS: usize = BOUNDED + 1;

/// Times, as they are counted.
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// Times that were counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// How many fell between the bound before and that of the bucket.
    pub(crate) buckets: [u64; BUCKETS],
    /// Their sum.
    pub(crate) nanos: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: zeros(), nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    #[inline]
    pub(super) fn record(&self, nanos: u64) {
        // The bits that are needed for one less: the exponent of the next power of two.
        let bits = u64::BITS - nanos.saturating_sub(1).leading_zeros();
        let bucket = bits.saturating_sub(FIRST_BITS) as usize;
        add_at(&self.buckets, bucket.min(BOUNDED), 1);
        add(&self.nanos, nanos);
    }

    pub(super) fn add_to(&self, totals: &mut Totals) {
        for (total, bucket) in totals.buckets.iter_mut().zip(&self.buckets) {
            *total += get(bucket);
        }
        totals.nanos = totals.nanos.wrapping_add(get(&self.nanos));
    }
}

impl Totals {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The bound of the bucket under which this share of the times (0 to 1) lies, in nanoseconds;
    /// for the last bucket, that before it. 0 without any times.
    pub(crate) fn quantile_nanos(&self, share: f64) -> u64 {
        let wanted = self.count() as f64 * share;
        let mut sum = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            sum += count;
            if sum > 0 && sum as f64 >= wanted {
                return bound_nanos(place.min(BOUNDED - 1));
            }
        }
        0
    }
}

/// The highest time that falls into a bucket.
pub(super) fn bound_nanos(place: usize) -> u64 {
    1 << (FIRST_BITS as usize + place)
}
