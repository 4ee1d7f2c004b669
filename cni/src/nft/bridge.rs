//! Table `bridge tripod`: what pods on a bridge must not send, whether to the node or to each other.
//!
//! A bridge hands the IP layer packets that come in by the bridge, so table `inet tripod` cannot tell who
//! sent them; here the port is still known. The rules never change. What is each pod's own (the
//! addresses it has) is in sets, by the port's name: `ports` are those that are held to addresses,
//! `sources4` and `sources6` the addresses; `mac_ports` and `macs` the same for hardware addresses.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};
use nix::errno::Errno;

use super::ATTEMPTS;
use super::base::{
    LINK_GROUP, LOOPBACK4, REDIRECT, ROUTER_ADVERTISEMENT, has_rules, icmpv6, remove_table, replace, rule,
};
use super::expr::{Expr, Family, Side, Verdict, concatenation, load_address, masked};
use super::message::{Batch, Chain, Hook, Layer, Rule, Table};
use super::set::{Datum, Element, Field, Set};
use super::socket::Nft;
use crate::error;

const TABLE: Table = Table { layer: Layer::Bridge, name: "tripod" };

/// Before the bridge looks where a frame goes, and before `br_netfilter` hands it to the IP layer's
/// rules.
const GUARD: Chain = Chain {
    table: TABLE,
    name: Cow::Borrowed("guard"),
    kind: "filter",
    hook: Hook::Prerouting,
    priority: -300,
};

const PORTS: Set = set("ports", &[Field::Interface]);
const SOURCES4: Set = set("sources4", &[Field::Interface, Field::Address4]);
const SOURCES6: Set = set("sources6", &[Field::Interface, Field::Address6]);
const MAC_PORTS: Set = set("mac_ports", &[Field::Interface]);
const MACS: Set = set("macs", &[Field::Interface, Field::Mac]);

const SETS: [Set; 5] = [PORTS, SOURCES4, SOURCES6, MAC_PORTS, MACS];

const fn set(name: &'static str, key: &'static [Field]) -> Set {
    Set { table: TABLE, name, key, value: &[] }
}

/// A port, and what its pod may send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The port's name.
    pub ifname: String,
    /// Whose it is, for a person who lists the sets.
    pub comment: String,
    /// The pod's addresses; a pod without any is not held to them.
    pub addresses: Vec<IpAddr>,
    /// The pod's hardware address, where it is held to it.
    pub mac: Option<[u8; 6]>,
}

impl Guarded {
    fn elements(&self) -> Vec<(Set, Element)> {
        let name = || Datum::new().interface(&self.ifname);
        let mut keys: Vec<(Set, Datum)> = Vec::new();
        if !self.addresses.is_empty() {
            keys.push((PORTS, name()));
        }
        keys.extend(self.addresses.iter().map(|address| {
            let set = if address.is_ipv4() { SOURCES4 } else { SOURCES6 };
            (set, name().address(*address))
        }));
        if let Some(mac) = self.mac {
            keys.extend([(MAC_PORTS, name()), (MACS, name().then(&mac))]);
        }
        let element = |key| Element { key, value: Datum::new(), comment: self.comment.clone() };
        keys.into_iter().map(|(set, key)| (set, element(key))).collect()
    }
}

/// Lets `guarded` send from its addresses, and makes the table what it should be unless it is; then with
/// `others`, the ports that were there before and whose elements may be lost too.
pub fn guard(nft: &Nft, guarded: &Guarded, others: impl FnOnce() -> Vec<Guarded>) -> io::Result<()> {
    let mut batch = Batch::new();
    if !has_rules(nft, &GUARD, &guard_rules())? {
        batch.add_table(TABLE);
        for set in SETS {
            batch.add_set(&set);
        }
        replace(&mut batch, &GUARD, &guard_rules());
        others().iter().for_each(|other| ensure(&mut batch, other));
    }
    ensure(&mut batch, guarded);
    nft.commit(batch)
}

fn ensure(batch: &mut Batch, guarded: &Guarded) {
    for (set, element) in guarded.elements() {
        batch.ensure_element(&set, &element);
    }
}

/// Removes the table and all that is in it; absence is success.
pub fn remove(nft: &Nft) -> io::Result<()> {
    remove_table(nft, TABLE)
}

/// Forgets `guarded`. That it, or the whole table, is gone already is no failure.
pub fn forget(nft: &Nft, guarded: &Guarded) -> io::Result<()> {
    let mut batch = Batch::new();
    for (set, element) in guarded.elements() {
        // Taking out what is not there would fail the whole transaction.
        batch.ensure_element(&set, &element);
        batch.remove_element(&set, &element.key);
    }
    match nft.commit(batch) {
        Err(error) if error::is(&error, Errno::ENOENT) => Ok(()),
        done => done,
    }
}

/// Forgets the port `ifname`, of which nobody knows what it was held to. It looks through all elements, and
/// again where somebody else changed the ruleset meanwhile: he may have taken out what was found.
pub fn forget_any(nft: &Nft, ifname: &str) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::of_generation(nft.generation()?);
        let found = elements_of(nft, ifname)?;
        if found.is_empty() {
            return Ok(());
        }
        found.iter().for_each(|(set, element)| batch.remove_element(set, &element.key));
        match nft.commit(batch) {
            Err(error) if error::is(&error, Errno::ERESTART) => {}
            done => return done,
        }
    }
    Err(Errno::ERESTART.into())
}

fn elements_of(nft: &Nft, ifname: &str) -> io::Result<Vec<(Set, Element)>> {
    let name = Datum::new().interface(ifname);
    let mut found = Vec::new();
    for set in SETS {
        let all = nft.elements(&set)?.into_iter();
        let its = all.filter(|element| element.key.bytes().starts_with(name.bytes()));
        found.extend(its.map(|element| (set, element)));
    }
    Ok(found)
}

/// Whether the chain has as many rules as it should, and the sets everything of `guarded`.
pub fn is_whole(nft: &Nft, guarded: &Guarded) -> io::Result<bool> {
    for (set, element) in guarded.elements() {
        if nft.element(&set, &element.key)?.is_none() {
            return Ok(false);
        }
    }
    has_rules(nft, &GUARD, &guard_rules())
}

/// Each rule that knows a good frame ends there, so that such a frame costs one look into a set.
fn guard_rules() -> Vec<Rule> {
    let loopback6 = IpNetwork::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let unknown4 = IpNetwork::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let unknown6 = IpNetwork::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let group = LINK_GROUP.to_ne_bytes().to_vec();
    vec![
        to(Verdict::Return, [vec![Expr::IncomingGroup, Expr::NotEqual(group)], vec![]]),
        to(Verdict::Drop, [held(&MAC_PORTS), foreign(&MACS, SOURCE_MAC, 2)]),
        // The host's loopback services, which `route_localnet` would open (CVE-2020-8558).
        to(Verdict::Drop, [of(IP4), inside(load_address(Side::Destination, Family::V4), LOOPBACK4.into())]),
        to(Verdict::Return, [of(IP4), own(&SOURCES4, load_address(Side::Source, Family::V4), 1)]),
        to(Verdict::Drop, [of(IP4), held(&PORTS)]),
        // The sender in ARP; one that is looking for a free address names none.
        to(Verdict::Return, [of(ARP), own(&SOURCES4, ARP_SENDER, 1)]),
        to(Verdict::Return, [of(ARP), inside(ARP_SENDER, unknown4)]),
        to(Verdict::Drop, [of(ARP), held(&PORTS)]),
        to(Verdict::Drop, [of(IP6), inside(load_address(Side::Destination, Family::V6), loopback6)]),
        // A pod is no router (CVE-2020-10749), and no neighbour but itself.
        to(Verdict::Drop, [of(IP6), icmpv6(ROUTER_ADVERTISEMENT)]),
        to(Verdict::Drop, [of(IP6), icmpv6(REDIRECT)]),
        to(Verdict::Drop, [of(IP6), foreign_advertisement()]),
        to(Verdict::Return, [of(IP6), own(&SOURCES6, load_address(Side::Source, Family::V6), 4)]),
        to(Verdict::Return, [of(IP6), inside(load_address(Side::Source, Family::V6), LINK_LOCAL.into())]),
        to(Verdict::Return, [of(IP6), inside(load_address(Side::Source, Family::V6), unknown6)]),
        to(Verdict::Drop, [of(IP6), held(&PORTS)]),
    ]
}

const LINK_LOCAL: Ipv6Network = match Ipv6Network::new_checked(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)
{
    Some(prefix) => prefix,
    None => unreachable!(),
};

/// Ethernet types.
const IP4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IP6: u16 = 0x86dd;

const SOURCE_MAC: Expr = Expr::Link { offset: 6, length: 6 };
const ARP_SENDER: Expr = Expr::Network { offset: 14, length: 4 };

fn to(verdict: Verdict, parts: [Vec<Expr>; 2]) -> Rule {
    let [first, second] = parts;
    rule(&GUARD, [first, second, vec![Expr::Verdict(verdict)]])
}

fn of(ether_type: u16) -> Vec<Expr> {
    vec![Expr::EtherType, Expr::Equal(ether_type.to_be_bytes().to_vec())]
}

fn inside(load: Expr, prefix: IpNetwork) -> Vec<Expr> {
    let (mut exprs, address) = masked(load, prefix);
    exprs.push(Expr::Equal(address));
    exprs
}

fn held(ports: &Set) -> Vec<Expr> {
    vec![Expr::IncomingName, Expr::InSet(ports.name)]
}

fn by_port(load: Expr, words: u32) -> Vec<Expr> {
    concatenation([(Expr::IncomingName, 4), (load, words)])
}

fn own(set: &Set, load: Expr, words: u32) -> Vec<Expr> {
    [by_port(load, words), vec![Expr::InSet(set.name)]].concat()
}

fn foreign(set: &Set, load: Expr, words: u32) -> Vec<Expr> {
    [by_port(load, words), vec![Expr::NotInSet(set.name)]].concat()
}

/// A neighbour advertisement for an address that is neither the pod's nor link-local.
fn foreign_advertisement() -> Vec<Expr> {
    const ADVERTISEMENT: u8 = 136;
    let target = || Expr::Transport { offset: 8, length: 16 };
    let (load, link_local) = masked(target(), LINK_LOCAL.into());
    let outside = [load, vec![Expr::NotEqual(link_local)]].concat();
    [icmpv6(ADVERTISEMENT), held(&PORTS), outside, foreign(&SOURCES6, target(), 4)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_in_the_sets_of_what_it_is_held_to() {
        let names = |addresses: &[&str], mac| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let guarded = Guarded { ifname: "tp0".into(), comment: "c1 eth0".into(), addresses, mac };
            guarded.elements().iter().map(|(set, _)| set.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["10.1.0.2", "fd00::2"], None), ["ports", "sources4", "sources6"]);
        assert_eq!(names(&[], Some([2; 6])), ["mac_ports", "macs"]);
        assert!(names(&[], None).is_empty());
    }
}
