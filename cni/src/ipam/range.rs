//! Ranges of addresses and the order in which they are tried. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

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

    fn numbers(&self) -> impl Iterator<Item = u128> + use<> {
        let gateway = self.gateway;
        (self.first..=self.last).filter(move |number| *number != gateway)
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

    /// Every address of the set once, beginning after `after` and wrapping round: an address that was
    /// just released is the last to be given again, so that a late packet finds nobody.
    pub(crate) fn candidates(&self, after: Option<IpAddr>) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.is_ipv4();
        let after = after.filter(|address| address.is_ipv4() == v4).map(number);
        let at = after.and_then(|after| self.0.iter().position(|range| range.holds(after)));
        let (at, after) = at.zip(after).unwrap_or((0, 0));
        let current = self.0.get(at).into_iter();
        let rest = current.clone().flat_map(move |range| range.clone().above(after));
        let following = self.0.iter().cycle().skip(at + 1).take(self.0.len() - 1).flat_map(Range::numbers);
        let wrapped = current.flat_map(move |range| range.clone().up_to(after));
        rest.chain(following).chain(wrapped).map(move |number| address(number, v4))
    }

    /// `address`, which is a candidate, as the pod gets it.
    pub(crate) fn assign(&self, address: IpAddr) -> Option<Assignment> {
        let range = self.0.iter().find(|range| range.subnet.contains(address))?;
        let gateway = self::address(range.gateway, range.subnet.is_ipv4());
        let address = IpNetwork::new(address, range.subnet.prefix()).ok()?;
        Some(Assignment { address, gateway: Some(gateway) })
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

impl Range {
    fn above(self, after: u128) -> impl Iterator<Item = u128> {
        let first = after.checked_add(1).map(|next| next.max(self.first));
        first.into_iter().flat_map(move |first| Self { first, ..self }.numbers())
    }

    fn up_to(mut self, after: u128) -> impl Iterator<Item = u128> {
        self.last = self.last.min(after);
        self.numbers()
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

    fn given(set: &RangeSet, after: Option<&str>) -> Vec<String> {
        set.candidates(after.map(|ip| ip.parse().unwrap())).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        assert_eq!(given(&set(&["10.0.0.0/29"]), None), [2, 3, 4, 5, 6].map(|n| format!("10.0.0.{n}")));
        assert_eq!(given(&set(&["fd00::/126"]), None), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn the_search_begins_after_the_last_address_and_wraps() {
        let two = set(&["10.0.0.0/30", "10.0.1.0/29"]);
        assert_eq!(
            given(&two, Some("10.0.1.4")),
            ["10.0.1.5", "10.0.1.6", "10.0.0.2", "10.0.1.2", "10.0.1.3", "10.0.1.4"]
        );
        assert_eq!(given(&two, Some("192.0.2.1")).len(), 6);
        assert_eq!(given(&two, Some("fd00::1")).len(), 6);
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
        assert_eq!(given(&set, None), ["10.0.0.1", "10.0.0.3"]);
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
        let ten = set(&["10.0.0.0/8"]);
        let last = "10.255.255.254".parse().unwrap();
        assert_eq!(ten.candidates(Some(last)).next().unwrap().to_string(), "10.0.0.2");
        let all = set(&["::/0"]);
        let end = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(all.candidates(Some(end)).next().unwrap().to_string(), "::2");
    }

    proptest! {
        #[test]
        fn every_address_is_a_candidate_exactly_once(after in 0u8..=255, prefix in 26u8..=30) {
            let set = set(&[&format!("10.0.0.0/{prefix}"), "10.0.0.128/28"]);
            let after = IpAddr::from([10, 0, 0, after]);
            let all: Vec<_> = set.candidates(Some(after)).collect();
            prop_assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
            prop_assert_eq!(all.len(), (1usize << (32 - prefix)) - 3 + 13);
        }
    }
}
