//! How long Node objects that decide about claims may stay unread before that is told.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A node that comes up has all others' Node objects to read; pods must not wait for one that cannot be.
const PATIENCE: Duration = Duration::from_secs(10);

/// The Node objects that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    count: usize,
    /// Since when there are some.
    since: Option<Instant>,
    is_late: bool,
}

impl Unread {
    /// Notes how many there are by now.
    pub(super) fn note(&mut self, count: usize, now: Instant) {
        self.count = count;
        self.since = if count == 0 { None } else { self.since.or(Some(now)) };
        self.is_late = self.since.is_some_and(|since| since + PATIENCE <= now);
    }

    /// Whether there are some, and none has been waited for too long.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.is_some() && !self.is_late
    }

    /// Ends when they are late, where they are not yet.
    pub(super) async fn are_late(&self) {
        match self.late_at() {
            Some(moment) => sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    fn late_at(&self) -> Option<Instant> {
        self.since.filter(|_| !self.is_late).map(|since| since + PATIENCE)
    }

    /// What is waited for, as the end of a sentence.
    pub(super) fn why(&self) -> String {
        match self.count {
            0 => String::new(),
            count => format!(": Node objects that decide about them are still to be read: {count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_late_after_a_while_and_then_stay_late_until_there_are_none() {
        let (begin, mut unread) = (Instant::now(), Unread::default());
        assert!(!unread.is_fresh() && unread.late_at().is_none() && unread.why().is_empty());
        unread.note(3, begin);
        unread.note(2, begin + PATIENCE / 2);
        assert!(unread.is_fresh() && unread.why().ends_with(": 2"));
        assert_eq!(unread.late_at(), Some(begin + PATIENCE));
        unread.note(2, begin + PATIENCE);
        assert!(!unread.is_fresh() && unread.late_at().is_none());
        unread.note(0, begin + PATIENCE);
        unread.note(1, begin + PATIENCE);
        assert!(unread.is_fresh());
    }
}
