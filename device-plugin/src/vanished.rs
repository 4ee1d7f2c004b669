//! Devices that are gone: listed as unhealthy for as long as a container may hold them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::resource_name::ResourceName;
use crate::device::Device;
use crate::podresources::Usage;

/// An answer about what is held settles a device's fate only when it came so long after the device went:
/// until then a container may be given it by a kubelet that has not heard.
const SETTLE: Duration = Duration::from_secs(10);

/// Since when which devices are gone.
#[derive(Debug, Default)]
pub(crate) struct Vanished(BTreeMap<ResourceName, BTreeMap<String, Instant>>);

impl Vanished {
    /// The devices of `listed` that stay: all that are there, and those gone that `usage` does not show to
    /// be free.
    pub(crate) fn keep(
        &mut self,
        resource: &ResourceName,
        listed: Vec<Device>,
        usage: Option<&Usage>,
        now: Instant,
    ) -> Vec<Device> {
        let before = self.0.remove(resource).unwrap_or_default();
        let mut gone = BTreeMap::new();
        let stays = |device: &Device| {
            if device.vanished.is_none() {
                return true;
            }
            let since = before.get(&device.id).copied().unwrap_or(now);
            let settled = usage
                .is_some_and(|usage| usage.asked >= since + SETTLE && !usage.holds(resource, &device.id));
            if !settled {
                gone.insert(device.id.clone(), since);
            }
            !settled
        };
        let kept = listed.into_iter().filter(stays).collect();
        if !gone.is_empty() {
            self.0.insert(resource.clone(), gone);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::devices;
    use crate::podresources::usage_of;

    /// Ids that stay, of the present `x` and the vanished `y`, when the kubelet says so late that `held`
    /// are held.
    fn kept(held: Option<&[(&str, &str)]>, after: Duration) -> (Vec<String>, bool) {
        let resource = ResourceName::parse("a/b").unwrap();
        let mut listed = devices(&["/dev/x", "/dev/y"]);
        listed[1].vanished = Some(1);
        let (mut vanished, begin) = (Vanished::default(), Instant::now());
        assert_eq!(vanished.keep(&resource, listed.clone(), None, begin).len(), 2);
        let usage = held.map(|held| usage_of(begin + after, held));
        let kept = vanished.keep(&resource, listed, usage.as_ref(), begin + after);
        (kept.into_iter().map(|device| device.id).collect(), vanished.0.is_empty())
    }

    #[test]
    fn what_is_gone_is_forgotten_once_nothing_holds_it() {
        let both = (vec!["x".to_owned(), "y".to_owned()], false);
        assert_eq!(kept(Some(&[]), SETTLE), (vec!["x".to_owned()], true));
        assert_eq!(kept(Some(&[("a/b", "y::1")]), SETTLE), both);
        assert_eq!(kept(Some(&[]), SETTLE / 2), both, "the answer came too soon");
        assert_eq!(kept(None, SETTLE * 100), both, "the kubelet does not answer");
    }
}
