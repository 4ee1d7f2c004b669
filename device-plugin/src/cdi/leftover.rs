//! Specs of what is no longer offered. The kubelet repeats the names of a container's devices whenever it
//! starts it again, so a spec is needed for as long as a container holds something of its kind.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::podresources::Usage;
use crate::vanished::Gone;

/// What is known of holders.
#[derive(Clone, Debug)]
pub(crate) enum Holders {
    /// The kubelet cannot be asked.
    Unknowable,
    /// It can be, and has not answered yet.
    Unanswered,
    /// Its last answer.
    Told(Usage),
}

/// The kinds that are offered no longer and whose specs stay.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(BTreeMap<String, Gone>);

impl Leftovers {
    /// Whether the spec of `kind`, of which nothing is offered, stays.
    pub(crate) fn keep(&mut self, kind: &str, holders: &Holders, now: Instant) -> bool {
        let gone = self.0.entry(kind.to_owned()).or_insert(Gone::since(now));
        let removed = match holders {
            Holders::Unknowable => true,
            Holders::Unanswered => false,
            Holders::Told(usage) => gone.hear(usage, usage.holds_any_of(kind)),
        };
        if removed {
            self.0.remove(kind);
        }
        !removed
    }

    /// Forgets those that are offered again.
    pub(crate) fn forget(&mut self, offered: impl Fn(&str) -> bool) {
        self.0.retain(|kind, _| !offered(kind));
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::podresources::usage_of;

    #[test]
    fn a_spec_stays_until_answers_apart_say_that_nothing_of_its_kind_is_held() {
        let begin = Instant::now();
        let told = |second, held: &[(&str, &str)]| {
            let at = begin + Duration::from_secs(second);
            (Holders::Told(usage_of(at, held)), at)
        };
        let mut leftovers = Leftovers::default();
        let mut keep = |(holders, at): (Holders, Instant)| leftovers.keep("nobody/elses", &holders, at);
        assert!(keep((Holders::Unanswered, begin)));
        assert!(keep(told(1, &[])), "a kubelet that has just started knows of no pods");
        assert!(keep(told(30, &[("nobody/elses", "x")])));
        assert!(keep(told(60, &[])));
        assert!(!keep(told(90, &[])));
        assert!(leftovers.is_empty());
        assert!(!leftovers.keep("a/b", &Holders::Unknowable, begin));
    }

    #[test]
    fn what_is_offered_again_begins_anew() {
        let mut leftovers = Leftovers::default();
        assert!(leftovers.keep("a/b", &Holders::Unanswered, Instant::now()));
        leftovers.forget(|kind| kind == "a/b");
        assert!(leftovers.is_empty());
    }
}
