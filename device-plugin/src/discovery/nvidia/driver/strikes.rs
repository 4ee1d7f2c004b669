//! The errors that the driver has told of, and when they are over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::lock;
use crate::discovery::nvidia::card::Card;
use crate::discovery::nvidia::xid::{Policy, Severity};

/// How long after an error the driver may take to say what it wants done.
const SETTLES: Duration = Duration::from_secs(5);
/// How long an error counts of which the driver cannot say whether the reset was made: without a limit the
/// GPU would never come back.
const COUNTS: Duration = Duration::from_mins(10);

/// What the driver has told, and what is made of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    strikes: Mutex<BTreeMap<String, Strikes>>,
    policy: Mutex<Policy>,
    news: Arc<Notify>,
}

/// The errors of one GPU.
#[derive(Clone, Debug, Default)]
struct Strikes {
    /// How many cost, or cost soon, a reset.
    count: u64,
    /// The last of those, until it is over.
    last: Option<(u64, Severity, Instant)>,
}

impl Told {
    /// Told of each error, and whenever else there is a reason to look.
    pub(super) fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    pub(super) fn judge_by(&self, policy: Policy) {
        *lock(&self.policy) = policy;
    }

    /// Takes note of error `xid` of the GPU `uuid`.
    pub(super) fn note(&self, uuid: &str, xid: u64) {
        let severity = lock(&self.policy).severity(xid);
        tracing::warn!(gpu = uuid, xid, ?severity, "the driver reports an error");
        if matches!(severity, Severity::Reset | Severity::Replace) {
            let mut strikes = lock(&self.strikes);
            let strikes = strikes.entry(uuid.to_owned()).or_default();
            strikes.count += 1;
            strikes.last = Some((xid, severity, Instant::now()));
        }
        self.news.notify_one();
    }

    /// A GPU that was away has been reset, or is another one.
    pub(super) fn forgive_absent(&self, present: &[Card]) {
        for (uuid, strikes) in lock(&self.strikes).iter_mut() {
            if !present.iter().any(|card| card.id() == uuid) {
                strikes.last = None;
            }
        }
    }

    /// What the last error of `card` means for it until that is over, and how many there were.
    pub(super) fn trouble(&self, card: &Card) -> (Option<String>, u64) {
        let mut strikes = lock(&self.strikes);
        let Some(strikes) = strikes.get_mut(card.id()) else { return (None, 0) };
        if strikes.last.is_some_and(|(_, severity, at)| is_over(card, severity, at)) {
            strikes.last = None;
        }
        let reason = strikes.last.map(|(xid, severity, _)| match severity {
            Severity::Replace => format!("XID {xid}: have the GPU seen to, then restart this plugin"),
            _ => format!("XID {xid}: the GPU needs a reset"),
        });
        (reason, strikes.count)
    }
}

/// What needs a person is over when the person says so, by a restart of this process.
fn is_over(card: &Card, severity: Severity, at: Instant) -> bool {
    let limit = if card.tells_recovery { SETTLES } else { COUNTS };
    severity != Severity::Replace && card.trouble.is_none() && at.elapsed() > limit
}
