//! Latencies, counted in buckets that are 1.6 % wide, so that a percentile of millions of requests costs a few kilobytes
//! and one addition per request. It refuses to keep single values.

use std::time::Duration;

/// Buckets per doubling: 64 of them are 1/64 wide, less than anything a run can tell apart.
const STEPS_BITS: u32 = 6;
const STEPS: u64 = 1 << STEPS_BITS;

/// Doublings above the first `STEPS` nanoseconds: up to 18 minutes, longer than any run.
const DOUBLINGS: usize = 34;

/// How often each latency came up.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; STEPS as usize * (DOUBLINGS + 1)], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Count one latency. What is longer than the last bucket is counted there; [`Histogram::max`] stays exact.
    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(nanos).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// How many were counted.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// The latency that a share of all, in `[0, 1]`, did not exceed, in microseconds; 0 if there are none.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(bucket).min(self.max) as f64 / 1e3;
            }
        }
        0.0
    }

    /// The longest, in microseconds.
    pub(crate) fn max_us(&self) -> f64 {
        self.max as f64 / 1e3
    }
}

/// The bucket of a latency: linear up to `STEPS`, then `STEPS` buckets for every doubling.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doubling = 63 - nanos.leading_zeros() - STEPS_BITS;
    let step = (nanos >> doubling) - STEPS;
    ((u64::from(doubling) + 1) * STEPS + step) as usize
}

/// The largest latency of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (doubling, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_buckets_are_narrow() {
        let mut nanos = 1u64;
        while nanos < 1 << 39 {
            for value in [nanos - 1, nanos, nanos + nanos / 3] {
                let upper = upper(bucket(value));
                assert!(value <= upper, "{value} above {upper}");
                assert!(upper as f64 <= value as f64 * 1.02 + 1.0, "{value} far below {upper}");
            }
            nanos *= 2;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_latencies() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.0, 1.0)] {
            let found = histogram.percentile_us(share);
            assert!((found - micros).abs() <= micros * 0.02, "{share}: {found}");
        }
        assert_eq!((histogram.len(), histogram.max_us()), (1000, 1000.0));
        assert_eq!(Histogram::default().percentile_us(0.5), 0.0);
    }
}
