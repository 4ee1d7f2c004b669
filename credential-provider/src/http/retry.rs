//! When a failed call is attempted again.

use std::time::Duration;

/// Longest pause before the second attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(100);

/// Longest pause that is chosen here. A far end may ask for more.
const LONGEST: Duration = Duration::from_secs(5);

/// Whether a status says that the same request may succeed a moment later.
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

/// How long to wait after `failed` attempts: as long as the far end asked, or else any time up to a bound that
/// doubles, so that the nodes of a cluster that start together do not come back together.
/// `chance` is a random number.
pub(super) fn pause(failed: u32, asked: Option<Duration>, chance: u16) -> Duration {
    let bound = FIRST.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(LONGEST);
    asked.unwrap_or_else(|| bound.mul_f64(f64::from(chance) / f64::from(u16::MAX)))
}

/// What `Retry-After` asks for, given in seconds. Its other form, a date, needs clocks that agree.
pub(super) fn asked(header: Option<&str>) -> Option<Duration> {
    header?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{asked, is_passing, pause};

    #[test]
    fn pauses_double_up_to_a_bound() {
        let longest = |failed| pause(failed, None, u16::MAX).as_millis();
        assert_eq!((longest(1), longest(2), longest(3)), (100, 200, 400));
        assert_eq!((longest(10), longest(u32::MAX)), (5000, 5000));
        assert_eq!(pause(3, None, 0), Duration::ZERO);
    }

    #[test]
    fn the_far_end_may_ask_for_a_pause() {
        assert_eq!(pause(1, asked(Some(" 7 ")), 0), Duration::from_secs(7));
        assert_eq!(asked(Some("Wed, 21 Oct 2015 07:28:00 GMT")), None);
        assert_eq!(asked(Some("-1")), None);
    }

    #[test]
    fn which_refusals_pass() {
        assert!([408, 429, 500, 503, 599].into_iter().all(is_passing));
        assert!(![200, 302, 400, 401, 403, 404].into_iter().any(is_passing));
    }
}
