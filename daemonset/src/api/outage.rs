//! How long an API server that was of use may fail before another is tried: to leave it means to list all nodes
//! anew, and all agents do so at once.

use std::time::Duration;

use kube::runtime::watcher;
use tokio::time::Instant;

use crate::report;

/// How long nothing at all may be answered: a restart of an API server takes less.
const SILENCE: Patience = Patience { most: Duration::from_secs(10), apart: Duration::from_secs(20) };
/// How long nothing but errors may be answered, as by a load balancer without an API server behind it.
const ERRORS: Patience = Patience { most: Duration::from_secs(300), apart: Duration::from_secs(90) };

struct Patience {
    most: Duration,
    /// Failures that are further apart have nothing to do with one another: a watch that works again says
    /// nothing as long as nothing happens.
    apart: Duration,
}

/// Failures in a row: the first and the last one.
type Row = Option<(Instant, Instant)>;

/// What failed since the last success.
#[derive(Debug, Default)]
pub(super) struct Outage {
    silence: Row,
    errors: Row,
    told: Option<String>,
}

impl Outage {
    /// Something was heard.
    pub(super) fn ends(&mut self) {
        if self.told.is_some() {
            tracing::info!("following the Node object again");
        }
        *self = Self::default();
    }

    /// Tells a failure once, and returns whether there were only failures for too long.
    pub(super) fn is_lasting(&mut self, error: &watcher::Error, now: Instant) -> bool {
        let text = report::chain(error);
        if self.told.as_ref() != Some(&text) {
            tracing::warn!(error = text, "cannot follow the Node object; trying again");
            self.told = Some(text);
        }
        if is_answer(error) {
            self.silence = None;
        }
        let is_silent = !is_answer(error) && SILENCE.is_over(&mut self.silence, now);
        ERRORS.is_over(&mut self.errors, now) || is_silent
    }
}

impl Patience {
    /// Adds a failure to `row`.
    fn is_over(&self, row: &mut Row, now: Instant) -> bool {
        let known = row.filter(|(_, last)| now.duration_since(*last) < self.apart);
        let begin = known.map_or(now, |(begin, _)| begin);
        *row = Some((begin, now));
        now.duration_since(begin) >= self.most
    }
}

/// Whether the API server said so itself: whatever ails it, it is there.
fn is_answer(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => matches!(error, kube::Error::Api(_)),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_lasts_is_too_long() {
        let silence = || watcher::Error::WatchStartFailed(kube::Error::Service("connection refused".into()));
        let answer = || watcher::Error::WatchStartFailed(kube::Error::Api(Box::default()));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        assert!(!outage.is_lasting(&silence(), at(0)));
        assert!(!outage.is_lasting(&silence(), at(9)));
        assert!(outage.is_lasting(&silence(), at(10)));
        // An answer of whatever kind, or an event, begins it anew.
        assert!(!outage.is_lasting(&answer(), at(11)));
        assert!(!outage.is_lasting(&silence(), at(21)));
        outage.ends();
        assert!(!outage.is_lasting(&silence(), at(32)));
        // Hours of quiet are no outage.
        assert!(!outage.is_lasting(&silence(), at(7200)));
        assert!(!outage.is_lasting(&silence(), at(7205)));
        // Who has nothing but errors to say is of no use either.
        let mut outage = Outage::default();
        assert!((0..30).all(|tenth| !outage.is_lasting(&answer(), at(tenth * 10))));
        assert!(outage.is_lasting(&answer(), at(300)));
    }
}
