//! Durations of one call, made many times.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The durations of one round, in milliseconds, in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Vec<f64>);

impl Latency {
    pub(crate) fn new(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut all: Vec<_> = durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect();
        assert!(!all.is_empty(), "nothing was measured");
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// The value below which `percent` of a hundred lie; the largest of a few.
    pub(crate) fn quantile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent).div_ceil(100).saturating_sub(1)]
    }

    pub(crate) fn p50(&self) -> f64 {
        self.quantile(50)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(99)
    }

    /// The round with the best tail.
    pub(crate) fn best(rounds: impl IntoIterator<Item = Self>) -> Self {
        rounds.into_iter().min_by(|one, other| one.p99().total_cmp(&other.p99())).expect("rounds")
    }
}

/// The best of `rounds` rounds of `calls` calls, by the processor time of this thread: on a busy machine
/// others would be what is measured.
pub(crate) fn of(rounds: usize, calls: usize, mut call: impl FnMut()) -> Latency {
    let mut timed = || {
        let begin = processor_time();
        call();
        processor_time() - begin
    };
    let mut round = || Latency::new((0..calls.max(1)).map(|_| timed()).collect::<Vec<_>>());
    Latency::best((0..rounds.max(1)).map(|_| round()))
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}
