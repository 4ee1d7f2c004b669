//! Devices that are gone: listed as unhealthy for as long as a container may hold them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::resource_name::ResourceName;
use crate::device::Device;
use crate::podresources::Usage;

/// A device is forgotten when answers so far apart, and all between them, say that nothing holds it: at
/// first a kubelet may still give it away, having not heard, and one that has just started does not know
/// of its pods yet.
const SETTLE: Duration = Duration::from_secs(10);

/// Which devices are gone.
#[derive(Debug, Default)]
pub(crate) struct Vanished(BTreeMap<ResourceName, BTreeMap<String, Gone>>);

/// Something that is no longer offered, and that a container may hold for all that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    since: Instant,
    /// Since which answer nothing holds it.
    free: Option<Instant>,
}

impl Vanished {
    /// The devices of `listed` that stay: all that are there, and those gone that the answers, of which
    /// `usage` is the last, do not show to be free.
    pub(crate) fn keep(
        &mut self,
        resource: &ResourceName,
        listed: Vec<Device>,
        usage: Option<&Usage>,
        now: Instant,
    ) -> Vec<Device> {
        let before = self.0.remove(resource).unwrap_or_default();
        let mut all_gone = BTreeMap::new();
        let stays = |device: &Device| {
            if device.vanished.is_none() {
                return true;
            }
            let mut gone = before.get(&device.id).copied().unwrap_or(Gone::since(now));
            let forgotten = usage.is_some_and(|usage| gone.hear(usage, usage.holds(resource, &device.id)));
            if !forgotten {
                all_gone.insert(device.id.clone(), gone);
            }
            !forgotten
        };
        let kept = listed.into_iter().filter(stays).collect();
        if !all_gone.is_empty() {
            self.0.insert(resource.clone(), all_gone);
        }
        kept
    }
}

impl Gone {
    /// It is gone since this moment, and whether anything holds it is not known.
    pub(crate) fn since(since: Instant) -> Gone {
        Gone { since, free: None }
    }

    /// Takes an answer in, by which it is `held` or not, and tells whether it is to be forgotten.
    pub(crate) fn hear(&mut self, usage: &Usage, held: bool) -> bool {
        if held || usage.asked < self.since {
            self.free = None;
            return false;
        }
        usage.asked.duration_since(*self.free.get_or_insert(usage.asked)) >= SETTLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::devices;
    use crate::podresources::usage_of;

    /// Ids that stay, of the present `x` and the vanished `y`, when the kubelet says in each of these
    /// seconds what is held.
    fn kept(answers: &[(u64, &[(&str, &str)])]) -> Vec<String> {
        let resource = ResourceName::parse("a/b").unwrap();
        let mut listed = devices(&["/dev/x", "/dev/y"]);
        listed[1].vanished = Some(1);
        let (mut vanished, begin) = (Vanished::default(), Instant::now());
        let mut kept = vanished.keep(&resource, listed, None, begin);
        for (second, held) in answers {
            let now = begin + Duration::from_secs(*second);
            kept = vanished.keep(&resource, kept, Some(&usage_of(now, held)), now);
        }
        assert_eq!(vanished.0.is_empty(), kept.len() == 1);
        kept.into_iter().map(|device| device.id).collect()
    }

    #[test]
    fn what_is_gone_is_forgotten_once_answers_apart_say_that_nothing_holds_it() {
        let (held, free): (&[_], &[_]) = (&[("a/b", "y::1")], &[]);
        assert_eq!(kept(&[(1, free), (11, free)]), ["x"]);
        assert_eq!(kept(&[(1, held), (31, free), (61, free)]), ["x"]);
        for answers in [
            &[][..],
            &[(1, free), (10, free)],
            &[(1, held), (60, held)],
            &[(1, held), (31, free)],
            &[(1, free), (31, held), (61, free)],
        ] {
            assert_eq!(kept(answers), ["x", "y"], "{answers:?}");
        }
    }
}
