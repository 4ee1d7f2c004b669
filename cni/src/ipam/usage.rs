//! How full a lease store is. Only looks, and without the lock: what it says is over when it is read.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use super::cooling;
use super::range::{Range, RangeSet};
use crate::clock;

/// Most names looked at in a store: more than a store gives addresses.
const MOST: usize = 1 << 18;

/// Addresses of one subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Somebody has them.
    pub leased: usize,
    /// They were given back a moment ago, and rest.
    pub cooling: usize,
    /// Nobody has them.
    pub free: usize,
}

/// How full each of `subnets` is, of which the store in `folder` gives addresses. A store that is not there
/// has given none.
pub fn usage(folder: &Path, subnets: &[IpNetwork]) -> Vec<Usage> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST);
    let leased: Vec<IpAddr> = names.filter_map(|name| name.file_name().to_str()?.parse().ok()).collect();
    let cooling = cooling::resting(folder, clock::since_boot());
    subnets.iter().map(|subnet| of(*subnet, &leased, &cooling)).collect()
}

fn of(subnet: IpNetwork, leased: &[IpAddr], cooling: &[IpAddr]) -> Usage {
    let within = |list: &[IpAddr]| list.iter().filter(|address| subnet.contains(**address)).count();
    let (leased, cooling) = (within(leased), within(cooling));
    Usage { leased, cooling, free: capacity(subnet).saturating_sub(leased + cooling) }
}

/// How many addresses of `subnet` are ever given.
fn capacity(subnet: IpNetwork) -> usize {
    let range = Range::new(subnet, None, None, None).and_then(|range| RangeSet::new(vec![range]));
    range.map_or(0, |set| set.slots().saturating_sub(set.gateway_slots().count()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_address_is_leased_cooling_or_free() {
        let folder = tempfile::tempdir().unwrap();
        let subnets = ["10.0.0.0/29".parse().unwrap(), "fd00::/64".parse().unwrap()];
        let all = |folder: &Path| usage(folder, &subnets);
        let free = |free| Usage { free, ..Usage::default() };
        assert_eq!(all(&folder.path().join("nowhere")), [free(5), free((1 << 17) - 1)]);
        for name in ["10.0.0.2", "10.0.0.3", "fd00::2", "lock", "last_reserved_ip.0", "192.0.2.1"] {
            fs::write(folder.path().join(name), "c1\r\neth0").unwrap();
        }
        let now = clock::since_boot();
        cooling::release(folder.path(), &["10.0.0.4".parse().unwrap()], now);
        cooling::release(folder.path(), &["10.0.0.5".parse().unwrap()], now + Duration::from_secs(3600));
        let [v4, v6] = all(folder.path())[..] else { panic!("one for each subnet") };
        assert_eq!(v4, Usage { leased: 2, cooling: 1, free: 2 });
        assert_eq!((v6.leased, v6.cooling), (1, 0));
    }
}
