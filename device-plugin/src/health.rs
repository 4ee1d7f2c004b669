//! Whether a device can be handed out, over time: `Healthy → Unhealthy → Probation → Healthy`.
//!
//! A device that fails now and then would be handed out again and again to fail there: the oftener it has
//! failed, the longer it must be seen well before it is trusted. Pure: the caller says what time it is.

use std::time::{Duration, Instant};

use crate::device::{Found, Health, Vitals};

/// A device that was well for so long has its failures forgiven.
const FORGIVEN: Duration = Duration::from_mins(10);
/// Probation after the second failure of a device that tells itself when it is well; doubled by each more.
/// The first is free: who unplugs a device and plugs it in again wants it at once.
const TOLD: Duration = Duration::from_secs(2);
/// Probation after the first failure that leaves no trace but a counter; doubled by each more.
const COUNTED: Duration = Duration::from_secs(30);
/// No probation is longer.
const LONGEST: Duration = Duration::from_mins(10);

/// What one look at a device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing is wrong.
    Well,
    /// Something is wrong, and will be seen to end.
    Failing(String),
    /// Something went wrong since the look before; nothing will say that it is over.
    Struck(String),
}

/// What a device's past says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    state: State,
    failures: u32,
    /// The most PCIe lanes it was ever seen with.
    lanes: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Healthy { since: Instant },
    Unhealthy { reason: String, counted: bool },
    Probation { reason: String, until: Instant },
}

impl Standing {
    /// That of a device which is seen for the first time.
    pub fn first(found: &Found, now: Instant) -> Standing {
        let unknown =
            Standing { state: State::Healthy { since: now }, failures: 0, lanes: found.vitals.lanes };
        match sign(found, None, found.vitals.lanes) {
            Sign::Well => unknown,
            sign => unknown.judge(sign, now),
        }
    }

    /// That of a device which was `before`, after a look that says `found`.
    pub fn look(&self, before: &Vitals, found: &Found, now: Instant) -> Standing {
        let lanes = self.lanes.max(found.vitals.lanes);
        let sign = sign(found, Some(before), lanes);
        Standing { lanes, ..self.judge(sign, now) }
    }

    /// That of a device which is not there, for this `reason`.
    pub fn gone(&self, reason: String, now: Instant) -> Standing {
        self.judge(Sign::Failing(reason), now)
    }

    /// Pure transition.
    fn judge(&self, sign: Sign, now: Instant) -> Standing {
        let next = match (&self.state, sign) {
            (State::Healthy { .. }, Sign::Well) => self.state.clone(),
            (State::Probation { until, .. }, Sign::Well) if now < *until => self.state.clone(),
            (State::Probation { .. }, Sign::Well) => State::Healthy { since: now },
            (State::Unhealthy { reason, counted }, Sign::Well) => self.released(reason, *counted, now),
            (State::Unhealthy { counted, .. }, Sign::Failing(reason)) => {
                return Standing { state: State::Unhealthy { reason, counted: *counted }, ..self.clone() };
            }
            (_, Sign::Failing(reason)) => return self.failed(reason, false, now),
            (_, Sign::Struck(reason)) => return self.failed(reason, true, now),
        };
        Standing { state: next, ..self.clone() }
    }

    fn failed(&self, reason: String, counted: bool, now: Instant) -> Standing {
        let forgiven =
            matches!(self.state, State::Healthy { since } if now.duration_since(since) >= FORGIVEN);
        let failures = if forgiven { 1 } else { self.failures.saturating_add(1) };
        Standing { state: State::Unhealthy { reason, counted }, failures, lanes: self.lanes }
    }

    fn released(&self, reason: &str, counted: bool, now: Instant) -> State {
        let probation = probation(self.failures, counted);
        if probation.is_zero() {
            return State::Healthy { since: now };
        }
        State::Probation { reason: reason.to_owned(), until: now + probation }
    }

    /// What the kubelet is to believe.
    pub fn verdict(&self) -> Health {
        let reason = match &self.state {
            State::Healthy { .. } => return Health::Healthy,
            State::Unhealthy { reason, .. } => reason.clone(),
            State::Probation { reason, .. } => format!("{reason}; well again, but not yet for long enough"),
        };
        Health::Unhealthy { reason }
    }

    /// When another look may change the verdict, though nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Probation { until, .. } => Some(until),
            _ => None,
        }
    }
}

fn probation(failures: u32, counted: bool) -> Duration {
    let (first, doublings) =
        if counted { (COUNTED, failures.checked_sub(1)) } else { (TOLD, failures.checked_sub(2)) };
    let length = doublings.map(|doublings| first.saturating_mul(2_u32.saturating_pow(doublings)));
    length.unwrap_or_default().min(LONGEST)
}

/// What is wrong with `found`, which had the vital signs `before`, and up to `lanes` PCIe lanes.
fn sign(found: &Found, before: Option<&Vitals>, lanes: Option<u32>) -> Sign {
    let seen = match &found.health {
        Health::Unhealthy { reason } => Some(reason.clone()),
        Health::Healthy => narrowed(found, lanes),
    };
    match (before.and_then(|before| risen(found, before)), seen) {
        // The reason is seen to end, but what was counted may come again all the same.
        (Some(_), Some(reason)) | (Some(reason), None) => Sign::Struck(reason),
        (None, Some(reason)) => Sign::Failing(reason),
        (None, None) => Sign::Well,
    }
}

fn narrowed(found: &Found, lanes: Option<u32>) -> Option<String> {
    let (now, most) = (found.vitals.lanes?, lanes?);
    (now < most).then(|| format!("its PCIe link has {now} lanes, and had {most}"))
}

fn risen(found: &Found, before: &Vitals) -> Option<String> {
    found.vitals.errors.iter().find_map(|(name, now)| {
        let was = *before.errors.get(name)?;
        (*now > was).then(|| format!("its count of {name} rose from {was} to {now}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::found;

    /// Judges a sequence of signs, each so many seconds after the one before.
    fn judged(signs: &[(u64, Sign)]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut standing = Standing::first(&found("/dev/a"), now);
        let judge = |(seconds, sign): &(u64, Sign)| {
            now += Duration::from_secs(*seconds);
            standing = standing.judge(sign.clone(), now);
            standing.verdict().is_healthy()
        };
        signs.iter().map(judge).collect()
    }

    fn failing() -> Sign {
        Sign::Failing("it is gone".to_owned())
    }

    fn struck() -> Sign {
        Sign::Struck("a counter rose".to_owned())
    }

    #[test]
    fn what_is_unplugged_once_is_trusted_at_once() {
        assert_eq!(judged(&[(1, Sign::Well), (1, failing()), (1, Sign::Well)]), [true, false, true]);
    }

    #[test]
    fn what_flaps_must_be_well_for_longer_each_time() {
        let flap = |wait: u64| [(1, failing()), (1, Sign::Well), (wait, Sign::Well)];
        let signs: Vec<_> = [1, 2, 4, 7].into_iter().flat_map(flap).collect();
        let verdicts = judged(&signs);
        // Trusted at once, after two seconds, after four, and not yet after seven of eight.
        let last: Vec<_> = verdicts.chunks(3).map(|flap| (flap[1], flap[2])).collect();
        assert_eq!(last, [(true, true), (false, true), (false, true), (false, false)]);
    }

    #[test]
    fn what_was_struck_is_watched_though_all_looks_well() {
        let signs = [(1, struck()), (1, Sign::Well), (29, Sign::Well), (1, Sign::Well)];
        assert_eq!(judged(&signs), [false, false, false, true]);
        let again = [
            (1, struck()),
            (1, Sign::Well),
            (15, struck()),
            (1, Sign::Well),
            (59, Sign::Well),
            (1, Sign::Well),
        ];
        assert_eq!(judged(&again), [false, false, false, false, false, true]);
    }

    #[test]
    fn a_long_time_without_failure_forgives_all() {
        let mut signs =
            vec![(1, failing()), (1, Sign::Well), (1, failing()), (1, Sign::Well), (5, Sign::Well)];
        signs.extend([(FORGIVEN.as_secs(), failing()), (1, Sign::Well)]);
        assert_eq!(judged(&signs).last(), Some(&true));
    }

    #[test]
    fn probation_is_never_longer_than_its_limit() {
        assert_eq!(probation(1, false), Duration::ZERO);
        assert_eq!(probation(u32::MAX, false), LONGEST);
        assert_eq!(probation(u32::MAX, true), LONGEST);
    }

    #[test]
    fn fewer_lanes_and_risen_counters_are_signs() {
        let vitals = |lanes, fatal| Vitals { lanes: Some(lanes), errors: [("fatal errors", fatal)].into() };
        let seen = |vitals| Found { vitals, ..found("/dev/a") };
        let now = Instant::now();
        let standing = Standing::first(&seen(vitals(16, 3)), now);
        assert!(standing.verdict().is_healthy(), "what happened before is not held against it");
        let reason = |standing: &Standing| match standing.verdict() {
            Health::Unhealthy { reason } => reason,
            Health::Healthy => "healthy".to_owned(),
        };
        let narrow = standing.look(&vitals(16, 3), &seen(vitals(8, 3)), now);
        assert_eq!(reason(&narrow), "its PCIe link has 8 lanes, and had 16");
        let struck = standing.look(&vitals(16, 3), &seen(vitals(16, 4)), now);
        assert_eq!(reason(&struck), "its count of fatal errors rose from 3 to 4");
        let watched = struck.look(&vitals(16, 4), &seen(vitals(16, 4)), now);
        assert_eq!(
            reason(&watched),
            "its count of fatal errors rose from 3 to 4; well again, but not yet for long enough"
        );
        assert_eq!(watched.due(), Some(now + COUNTED));
    }
}
