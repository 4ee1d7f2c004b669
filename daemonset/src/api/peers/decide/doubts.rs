//! When Node objects that were read are read again: a verdict may change without a change of the claim. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use tokio::time::Instant;

use crate::claims::{Disputed, Verdict, Verdicts};
use crate::tripod_node::Claim;

/// How many unread Node objects are read before the next look at what is asked: honest nodes do not dispute.
const MOST_VERDICTS: usize = 64;
/// How many that agreed are read again in a round. Without `clusterCIDRs` these are all nodes, for each agent.
const MOST_AGREED: usize = 16;
/// A Node that a cloud controller makes anew gets its addresses late; the pause doubles from here to [`AGAIN`].
const SOON: Duration = Duration::from_secs(10);
/// The pause between rounds.
pub(super) const AGAIN: Duration = Duration::from_secs(300);

/// What is read next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Whose Node objects, and which claims they decide.
    pub(super) claims: Vec<(String, Claim)>,
    /// Whether those that agreed are among them.
    pub(super) is_round: bool,
}

/// When what is read again.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Node objects that did not agree, and the pause before they are read again.
    wrong: BTreeMap<String, (Instant, Duration)>,
    round_at: Instant,
    /// Where the next batch and the next round go on.
    last: String,
    last_agreed: String,
}

impl Doubts {
    pub(super) fn new(now: Instant) -> Self {
        let (last, last_agreed) = (String::new(), String::new());
        Self { wrong: BTreeMap::new(), round_at: now + AGAIN, last, last_agreed }
    }

    /// Forgets those of which there is no such verdict any more.
    pub(super) fn forget(&mut self, verdicts: &Verdicts) {
        self.wrong.retain(|name, _| verdicts.contains_key(name));
    }

    /// The next claims that have no verdict or a doubtful one. The one that was asked last comes last, so that
    /// one that cannot be read keeps nobody waiting.
    pub(super) fn batch(&mut self, asked: &Disputed, verdicts: &Verdicts, now: Instant) -> Batch {
        let is_due = |name: &String| self.wrong.get(name).is_none_or(|(at, _)| *at <= now);
        let is_open = |name: &String| verdicts.get(name).is_none_or(|it| !it.is_right && is_due(name));
        let mut claims = rotate(asked, &self.last, MOST_VERDICTS, is_open);
        if let Some((last, _)) = claims.last() {
            self.last.clone_from(last);
        }
        let is_round = self.round_at <= now;
        if is_round {
            let is_right = |name: &String| verdicts.get(name).is_some_and(|it| it.is_right);
            let agreed = rotate(asked, &self.last_agreed, MOST_AGREED, is_right);
            if let Some((last, _)) = agreed.last() {
                self.last_agreed.clone_from(last);
            }
            claims.extend(agreed);
        }
        Batch { claims, is_round }
    }

    /// Notes a verdict that was read.
    pub(super) fn note(&mut self, name: &str, verdict: &Verdict, now: Instant) {
        if verdict.is_right {
            self.wrong.remove(name);
            return;
        }
        let pause = self.wrong.get(name).map_or(SOON, |(_, pause)| (*pause * 2).min(AGAIN));
        self.wrong.insert(name.to_owned(), (now + pause, pause));
    }

    /// Notes that a whole batch was answered; a round that was not is tried again.
    pub(super) fn answered(&mut self, is_round: bool, now: Instant) {
        if is_round {
            self.round_at = now + AGAIN;
        }
    }

    /// When there is something to be read again.
    pub(super) fn due(&self) -> Instant {
        self.wrong.values().map(|(at, _)| *at).fold(self.round_at, Instant::min)
    }
}

/// Some of those that are `wanted`, from the one after `last` on, and round.
fn rotate(
    asked: &Disputed,
    last: &str,
    most: usize,
    wanted: impl Fn(&String) -> bool,
) -> Vec<(String, Claim)> {
    let after = asked.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
    let all = after.chain(asked.range::<str, _>((Bound::Unbounded, Bound::Included(last))));
    let wanted = all.filter(|(name, _)| wanted(name)).take(most);
    wanted.map(|(name, claim)| (name.clone(), claim.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Mac;

    fn claim(name: &str) -> Claim {
        Claim {
            node_uid: name.into(),
            addresses: Vec::new(),
            pod_cidrs: Vec::new(),
            vtep_mac: Mac::of_node(name),
            wireguard_key: None,
            protocol: 1,
        }
    }

    fn says(name: &str, is_right: bool) -> (String, Verdict) {
        (name.to_owned(), Verdict { claim: claim(name), is_right })
    }

    fn asked(numbers: std::ops::Range<u32>) -> Disputed {
        numbers.map(|n| (format!("n{n}"), claim(&format!("n{n}")))).collect()
    }

    fn names(batch: Batch) -> Vec<String> {
        batch.claims.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn batches_go_round_and_leave_out_what_is_decided() {
        let (asked, now) = (asked(100..200), Instant::now());
        let verdicts = Verdicts::from([says("n101", true), says("n170", false)]);
        let mut doubts = Doubts::new(now);
        doubts.note("n170", &verdicts["n170"], now);
        let first = names(doubts.batch(&asked, &verdicts, now));
        assert_eq!((first.len(), first[0].as_str(), first[1].as_str()), (64, "n100", "n102"));
        // One that cannot be read keeps nobody waiting.
        let second = names(doubts.batch(&asked, &verdicts, now));
        assert_eq!((second[0].as_str(), second.contains(&"n100".to_owned())), ("n165", true));
        assert!(!second.contains(&"n170".to_owned()));
    }

    #[test]
    fn one_that_does_not_agree_is_read_again_soon_and_then_ever_more_seldom() {
        let (asked, mut now) = (asked(1..2), Instant::now());
        let verdicts = Verdicts::from([says("n1", false)]);
        let mut doubts = Doubts::new(now);
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            doubts.note("n1", &verdicts["n1"], now);
            doubts.answered(true, now);
            assert_eq!(doubts.due(), now + Duration::from_secs(pause));
            let early = now + Duration::from_secs(pause - 1);
            assert_eq!(names(doubts.batch(&asked, &verdicts, early)), [""; 0]);
            now += Duration::from_secs(pause);
            assert_eq!(names(doubts.batch(&asked, &verdicts, now)), ["n1"]);
            // As long as it is not answered, it is asked again.
            assert_eq!(names(doubts.batch(&asked, &verdicts, now)), ["n1"]);
        }
        // A new claim begins anew.
        doubts.answered(true, now);
        doubts.forget(&Verdicts::new());
        doubts.note("n1", &verdicts["n1"], now);
        assert_eq!(doubts.due(), now + SOON);
    }

    #[test]
    fn those_that_agreed_are_read_again_some_in_each_round_until_it_is_answered() {
        let (asked, now) = (asked(10..40), Instant::now());
        let verdicts: Verdicts = asked.keys().map(|name| says(name, true)).collect();
        let mut doubts = Doubts::new(now);
        assert_eq!(doubts.batch(&asked, &verdicts, now), Batch::default());
        let later = doubts.due();
        assert_eq!(later, now + AGAIN);
        let first = doubts.batch(&asked, &verdicts, later);
        assert!(first.is_round);
        let first = names(first);
        assert_eq!((first.len(), first[0].as_str()), (MOST_AGREED, "n10"));
        let second = names(doubts.batch(&asked, &verdicts, later));
        assert_eq!((second.len(), second[0].as_str(), second[15].as_str()), (MOST_AGREED, "n26", "n11"));
        doubts.answered(true, later);
        assert_eq!(doubts.batch(&asked, &verdicts, later), Batch::default());
        assert_eq!(doubts.due(), later + AGAIN);
    }
}
