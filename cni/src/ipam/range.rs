//! Ranges of addresses, and the slots in which their addresses are counted. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::fingerprint;

/// Most addresses of a set that are given without being asked for, the first of it. No node has as many
/// pods; and what is remembered of a /64 stays as small as of a /15.
pub(crate) const MOST_SLOTS: usize = 1 << 17;

/// A part of a subnet from which addresses are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    subnet: IpNetwork,
    first: u128,
    last: u128,
    gateway: u128,
}

/// Ranges of one family of which an attachment gets one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<Range>);

/// The part of a range that has slots.
#[derive(Clone, Copy, Debug)]
struct Window<'a> {
    base: usize,
    size: usize,
    range: &'a Range,
}

/// An address that a pod gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The address, with the prefix length of its subnet.
    pub address: IpNetwork,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
}

impl Range {
    /// A range of `subnet` between `start` and `end`, both included. Never given, as in host-local, are
    /// the network address, the gateway (the first address unless named) and IPv4's broadcast address.
    pub(crate) fn new(
        subnet: IpNetwork,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, String> {
        let host_bits = if subnet.is_ipv4() { 32 - subnet.prefix() } else { 128 - subnet.prefix() };
        if host_bits < 2 {
            return Err(
                "is too small: it needs a network address, a gateway and at least one more".to_owned()
            );
        }
        let network = number(subnet.network());
        let highest = network | (u128::MAX >> (128 - u32::from(host_bits)));
        let last = if subnet.is_ipv4() { highest - 1 } else { highest };
        let range = Self {
            subnet,
            first: start.map_or(network + 1, number).max(network + 1),
            last: end.map_or(last, number).min(last),
            gateway: gateway.map_or(network + 1, number),
        };
        if range.first > range.last || (range.first == range.last && range.first == range.gateway) {
            return Err("leaves no address between rangeStart and rangeEnd".to_owned());
        }
        Ok(range)
    }

    fn holds(&self, address: u128) -> bool {
        (self.first..=self.last).contains(&address)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl RangeSet {
    /// A set of `ranges`, which are of one family and do not overlap.
    pub(crate) fn new(ranges: Vec<Range>) -> Result<Self, String> {
        let Some(first) = ranges.first() else { return Err("is an empty range set".to_owned()) };
        if ranges.iter().any(|range| range.subnet.is_ipv4() != first.subnet.is_ipv4()) {
            return Err("mixes IPv4 and IPv6; give each family its own set".to_owned());
        }
        for (index, range) in ranges.iter().enumerate() {
            if ranges.iter().skip(index + 1).any(|other| range.overlaps(other)) {
                return Err("has ranges that overlap".to_owned());
            }
        }
        Ok(Self(ranges))
    }

    /// How many addresses are given without being asked for: those with a slot.
    pub(crate) fn slots(&self) -> usize {
        self.windows().map(|window| window.size).sum()
    }

    /// The slot of `address`; none for one outside the set or beyond the last slot.
    pub(crate) fn slot_of(&self, address: IpAddr) -> Option<usize> {
        if address.is_ipv4() != self.is_ipv4() {
            return None;
        }
        let at = |window: Window<'_>| {
            let offset = usize::try_from(number(address).checked_sub(window.range.first)?).ok()?;
            (offset < window.size).then_some(window.base + offset)
        };
        self.windows().find_map(at)
    }

    /// The address with `slot`.
    pub(crate) fn address_at(&self, slot: usize) -> Option<IpAddr> {
        let window =
            self.windows().find(|window| (window.base..window.base + window.size).contains(&slot))?;
        let offset = u128::try_from(slot - window.base).ok()?;
        Some(address(window.range.first + offset, self.is_ipv4()))
    }

    /// Slots that are never given: the gateways'.
    pub(crate) fn gateway_slots(&self) -> impl Iterator<Item = usize> + '_ {
        let gateways = self.0.iter().map(|range| address(range.gateway, self.is_ipv4()));
        gateways.filter(|gateway| !self.gives(*gateway)).filter_map(|gateway| self.slot_of(gateway))
    }

    /// Whether a pod may have `address`.
    pub(crate) fn gives(&self, address: IpAddr) -> bool {
        let wanted = number(address);
        let gives = |range: &Range| range.holds(wanted) && range.gateway != wanted;
        address.is_ipv4() == self.is_ipv4() && self.0.iter().any(gives)
    }

    /// Sixteen digits that stand for these ranges.
    pub(crate) fn fingerprint(&self) -> String {
        let numbers = self.0.iter().flat_map(|range| [range.first, range.last, range.gateway]);
        let bytes: Vec<u8> = numbers.flat_map(u128::to_le_bytes).collect();
        fingerprint::digits(&[&[u8::from(self.is_ipv4())], &bytes])
    }

    fn windows(&self) -> impl Iterator<Item = Window<'_>> {
        let mut base = 0;
        self.0.iter().map(move |range| {
            let length =
                usize::try_from(range.last - range.first).map_or(usize::MAX, |n| n.saturating_add(1));
            let window = Window { base, size: length.min(MOST_SLOTS - base), range };
            base += window.size;
            window
        })
    }

    /// `address`, which the set gives, as the pod gets it.
    pub(crate) fn assign(&self, address: IpAddr) -> Option<Assignment> {
        let of_family = address.is_ipv4() == self.is_ipv4();
        let range = self.0.iter().find(|range| of_family && range.holds(number(address)))?;
        let gateway = self::address(range.gateway, range.subnet.is_ipv4());
        let address = IpNetwork::new(address, range.subnet.prefix()).ok()?;
        Some(Assignment { address, gateway: Some(gateway) })
    }

    /// The gateway of each range, with its subnet's prefix length.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        self.0.iter().filter_map(|range| {
            let gateway = self::address(range.gateway, range.subnet.is_ipv4());
            IpNetwork::new(gateway, range.subnet.prefix()).ok()
        })
    }

    /// The subnets of its ranges.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        self.0.iter().map(|range| range.subnet)
    }

    /// Whether an address could come from both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let shared = |range: &Range| other.0.iter().any(|theirs| range.overlaps(theirs));
        self.is_ipv4() == other.is_ipv4() && self.0.iter().any(shared)
    }

    /// The family.
    pub(crate) fn is_ipv4(&self) -> bool {
        self.0.first().is_some_and(|range| range.subnet.is_ipv4())
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let v4 = range.subnet.is_ipv4();
            write!(f, "{separator}{}-{}", address(range.first, v4), address(range.last, v4))?;
        }
        Ok(())
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => IpAddr::V4(Ipv4Addr::from(number)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn set(subnets: &[&str]) -> RangeSet {
        let range = |subnet: &&str| Range::new(subnet.parse().unwrap(), None, None, None).unwrap();
        RangeSet::new(subnets.iter().map(range).collect()).unwrap()
    }

    fn given(set: &RangeSet) -> Vec<String> {
        let addresses = (0..set.slots()).filter_map(|slot| set.address_at(slot));
        addresses.filter(|address| set.gives(*address)).map(|address| address.to_string()).collect()
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        let v4 = set(&["10.0.0.0/29"]);
        assert_eq!(given(&v4), [2, 3, 4, 5, 6].map(|n| format!("10.0.0.{n}")));
        assert_eq!(v4.gateway_slots().collect::<Vec<_>>(), [0]);
        for refused in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.8", "fd00::2"] {
            assert!(!v4.gives(refused.parse().unwrap()), "{refused}");
        }
        assert_eq!(given(&set(&["fd00::/126"])), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn a_fingerprint_tells_ranges_apart() {
        let one = set(&["10.0.0.0/29"]).fingerprint();
        assert_eq!(one.len(), 16);
        assert_eq!(one, set(&["10.0.0.0/29"]).fingerprint());
        assert_ne!(one, set(&["10.0.0.0/28"]).fingerprint());
    }

    #[test]
    fn an_assignment_has_prefix_and_gateway_of_its_subnet() {
        let two = set(&["10.0.0.0/30", "10.0.1.0/29"]);
        let given = two.assign("10.0.1.4".parse().unwrap()).unwrap();
        assert_eq!(given.address.to_string(), "10.0.1.4/29");
        assert_eq!(given.gateway.unwrap().to_string(), "10.0.1.1");
        assert_eq!(two.assign("10.0.2.4".parse().unwrap()), None);
    }

    #[test]
    fn a_named_gateway_frees_the_first_address() {
        let range = Range::new(
            "10.0.0.0/29".parse().unwrap(),
            Some("10.0.0.1".parse().unwrap()),
            Some("10.0.0.3".parse().unwrap()),
            Some("10.0.0.2".parse().unwrap()),
        );
        let set = RangeSet::new(vec![range.unwrap()]).unwrap();
        assert_eq!(given(&set), ["10.0.0.1", "10.0.0.3"]);
    }

    #[test]
    fn sets_of_two_families_and_overlaps_are_refused() {
        let range = |subnet: &str| Range::new(subnet.parse().unwrap(), None, None, None).unwrap();
        assert!(RangeSet::new(vec![range("10.0.0.0/24"), range("fd00::/64")]).is_err());
        assert!(RangeSet::new(vec![range("10.0.0.0/24"), range("10.0.0.128/25")]).is_err());
        assert!(RangeSet::new(vec![]).is_err());
    }

    #[test]
    fn the_whole_of_the_internet_does_not_overflow() {
        for (subnet, last) in
            [("10.0.0.0/8", "10.2.0.0"), ("fc00::/7", "fc00::2:0"), ("fd00::/64", "fd00::2:0")]
        {
            let set = set(&[subnet, if subnet.contains(':') { "2001:db8::/120" } else { "192.0.2.0/24" }]);
            assert_eq!(set.slots(), MOST_SLOTS);
            assert_eq!(set.address_at(MOST_SLOTS - 1), Some(last.parse().unwrap()));
            assert_eq!(set.address_at(MOST_SLOTS), None);
        }
        assert_eq!(set(&["::/0"]).slots(), MOST_SLOTS);
    }

    proptest! {
        #[test]
        fn every_address_has_a_slot_of_its_own(prefix in 26u8..=30) {
            let set = set(&[&format!("10.0.0.0/{prefix}"), "10.0.0.128/28"]);
            prop_assert_eq!(set.slots(), (1usize << (32 - prefix)) - 2 + 14);
            for slot in 0..set.slots() {
                prop_assert_eq!(set.slot_of(set.address_at(slot).unwrap()), Some(slot));
            }
            prop_assert_eq!(given(&set).iter().collect::<HashSet<_>>().len(), set.slots() - 2);
        }
    }
}
