//! Durations, counted by size.

use std::time::Duration;

/// Upper bounds of the buckets in microseconds, from a call that touches nothing to a stuck bus.
pub const BOUNDS: [u64; 12] =
    [25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000, 10_000_000];

/// How many durations were at most so long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let limits = BOUNDS.iter().map(|&bound| Duration::from_micros(bound));
        for (bucket, limit) in self.buckets.iter_mut().zip(limits) {
            *bucket += u64::from(took <= limit);
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Each bound in seconds with how many were at most so long.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let seconds = BOUNDS.iter().map(|&bound| Duration::from_micros(bound).as_secs_f64());
        seconds.zip(self.buckets)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long all took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}
