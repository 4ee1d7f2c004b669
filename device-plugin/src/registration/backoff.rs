//! How long to wait before trying again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with each try. It starts short: a kubelet that has just made its socket listens on it within
/// a millisecond.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff(FIRST)
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        now
    }

    /// Starts over.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_two_milliseconds_to_five_seconds() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..14).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits[..4], [2, 4, 8, 16]);
        assert_eq!(waits[11..], [4096, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
