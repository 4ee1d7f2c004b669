//! Host ports in table `inet tripod`: three chains that never change, and per family a map for ports of
//! all addresses, a map for ports of one address, and a set of the pods that have any.
//!
//! An attachment is nothing but elements, and each carries its owner: ADD puts in what was free, DEL
//! takes out what is its own, each in one transaction of the generation it looked at, so that nobody
//! comes between the look and the change. A port of all addresses excludes the same port of one; the
//! second map must be read through to see that, which is cheap because few ports are of one address.
//!
//! The chains come after those of kube-proxy in the same hooks: an address that a Service has stays the
//! Service's. `[::1]` leads nowhere: the kernel forwards nothing from it.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::ATTEMPTS;
use super::base::{self, LOOPBACK4, TABLE};
use super::expr::{Expr, Family, Side, Verdict, address_in, concatenation, load_address, of_family};
use super::message::{Batch, Chain, Hook, Rule};
use super::set::{Datum, Element, Field, Set};
use super::socket::Nft;
use crate::error;
use crate::hostport::{HostPort, Mapping};
use crate::ipam::store::Owner;
use crate::record::attachment_hash;

/// Links by whose own name a packet comes in and leaves: bridges, whose pods would else answer one
/// another without the node in between.
const BOUNCE: Set =
    Set { table: TABLE, name: "bounce", key: &[Field::Interface, Field::Interface], value: &[] };

/// (protocol, port) of all addresses to (pod, port).
fn any(family: Family) -> Set {
    const KEY: &[Field] = &[Field::Protocol, Field::Port];
    match family {
        Family::V4 => {
            Set { table: TABLE, name: "hostports4", key: KEY, value: &[Field::Address4, Field::Port] }
        }
        Family::V6 => {
            Set { table: TABLE, name: "hostports6", key: KEY, value: &[Field::Address6, Field::Port] }
        }
    }
}

/// (protocol, address, port) to (pod, port).
fn of_address(family: Family) -> Set {
    match family {
        Family::V4 => Set {
            table: TABLE,
            name: "hostip_ports4",
            key: &[Field::Protocol, Field::Address4, Field::Port],
            value: &[Field::Address4, Field::Port],
        },
        Family::V6 => Set {
            table: TABLE,
            name: "hostip_ports6",
            key: &[Field::Protocol, Field::Address6, Field::Port],
            value: &[Field::Address6, Field::Port],
        },
    }
}

/// (pod, pod): what a pod sends to itself, for each that has host ports.
fn hairpin(family: Family) -> Set {
    match family {
        Family::V4 => {
            Set { table: TABLE, name: "hairpin4", key: &[Field::Address4, Field::Address4], value: &[] }
        }
        Family::V6 => {
            Set { table: TABLE, name: "hairpin6", key: &[Field::Address6, Field::Address6], value: &[] }
        }
    }
}

fn chain(name: &'static str, hook: Hook, priority: i32) -> Chain {
    Chain { table: TABLE, name: Cow::Borrowed(name), kind: "nat", hook, priority }
}

/// The chains with their rules: before and after routing, and for what the node itself sends.
fn chains() -> [(Chain, Vec<Rule>); 3] {
    let with = |chain: Chain, matches: Vec<Vec<Expr>>| {
        let rules = matches.into_iter().map(|exprs| base::rule(&chain, [exprs])).collect();
        (chain, rules)
    };
    [
        with(chain("hostports", Hook::Prerouting, -95), from_outside()),
        with(chain("hostports_output", Hook::Output, -95), from_the_node()),
        // Before masquerade, which may spare the pods.
        with(chain("hostports_postrouting", Hook::Postrouting, 95), return_by_the_node()),
    ]
}

/// Nobody outside may use what is bound to the node's loopback addresses: the kernel drops such packets
/// only when it routes them, and by then they would have another destination.
fn from_outside() -> Vec<Vec<Expr>> {
    let loopback = [address_in(Side::Destination, LOOPBACK4.into()), vec![Expr::Verdict(Verdict::Return)]];
    let mut rules = vec![loopback.concat()];
    rules.extend(Family::ALL.map(by_address));
    rules.extend(Family::ALL.map(by_port));
    rules
}

/// Of the loopback addresses only 127.0.0.1 is taken for "all": the node's resolver may have another.
fn from_the_node() -> Vec<Vec<Expr>> {
    let leave = || vec![Expr::Verdict(Verdict::Return)];
    let first = Ipv4Addr::LOCALHOST.octets().to_vec();
    let other4 = [
        address_in(Side::Destination, LOOPBACK4.into()),
        vec![load_address(Side::Destination, Family::V4), Expr::NotEqual(first)],
        leave(),
    ];
    let loopback6 = IpNetwork::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let mut rules: Vec<_> = Family::ALL.map(by_address).into();
    rules.push(other4.concat());
    rules.push([address_in(Side::Destination, loopback6), leave()].concat());
    rules.extend(Family::ALL.map(by_port));
    rules
}

/// Where the answer would not come back through the node, or to an address that is none outside of it.
fn return_by_the_node() -> Vec<Vec<Expr>> {
    let to_a_pod = |family: Family, from| {
        let pair = [from, Side::Destination].map(|side| (load_address(side, family), family.words()));
        [concatenation(pair), vec![Expr::InSet(hairpin(family).name)]].concat()
    };
    let to_itself =
        Family::ALL.map(|family| [of_family(family), to_a_pod(family, Side::Source), hide()].concat());
    let from_loopback =
        [address_in(Side::Source, LOOPBACK4.into()), to_a_pod(Family::V4, Side::Destination), hide()];
    let bounced = Family::ALL.map(|family| {
        let links = concatenation([(Expr::IncomingName, 4), (Expr::OutgoingName, 4)]);
        let parts = [
            of_family(family),
            led_elsewhere(),
            links,
            vec![Expr::InSet(BOUNCE.name)],
            to_a_pod(family, Side::Destination),
            hide(),
        ];
        parts.concat()
    });
    [to_itself.into(), vec![from_loopback.concat()], bounced.into()].concat()
}

fn hide() -> Vec<Expr> {
    vec![Expr::Masquerade]
}

/// Connections whose destination was rewritten.
fn led_elsewhere() -> Vec<Expr> {
    /// `IPS_DST_NAT`.
    const STATUS: u32 = 1 << 5;
    let bit = STATUS.to_ne_bytes().to_vec();
    vec![Expr::ConnectionStatus, Expr::Mask(bit), Expr::NotEqual(0u32.to_ne_bytes().to_vec())]
}

const PORT: Expr = Expr::Transport { offset: 2, length: 2 };

fn by_address(family: Family) -> Vec<Expr> {
    let address = load_address(Side::Destination, family);
    let key = concatenation([(Expr::Protocol, 1), (address, family.words()), (PORT, 1)]);
    let lead = vec![Expr::Map(of_address(family).name), Expr::DestinationNat(family)];
    [of_family(family), key, lead].concat()
}

fn by_port(family: Family) -> Vec<Expr> {
    /// `RTN_LOCAL`.
    const LOCAL: u32 = 2;
    let to_the_node = vec![Expr::DestinationType, Expr::Equal(LOCAL.to_ne_bytes().to_vec())];
    let key = concatenation([(Expr::Protocol, 1), (PORT, 1)]);
    let lead = vec![Expr::Map(any(family).name), Expr::DestinationNat(family)];
    [of_family(family), to_the_node, key, lead].concat()
}

/// What an attachment wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Whose it is.
    pub owner: Owner<'a>,
    /// Its host ports.
    pub mappings: &'a [Mapping],
    /// The bridge that the pod shares with others, if any.
    pub bridge: Option<&'a str>,
}

/// A host port that somebody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What was wanted.
    pub wanted: Mapping,
    /// [`attachment_hash`] of who has it, and what a person calls them.
    pub hash: String,
    /// Container and interface of who has it.
    pub holder: String,
}

impl Claim<'_> {
    /// All elements of the attachment, in no set that others share.
    fn elements(&self) -> Vec<(Set, Element)> {
        let mut elements = Vec::new();
        for mapping in self.mappings {
            elements.push(self.element(mapping));
            let pods = Datum::new().address(mapping.pod).address(mapping.pod);
            let pair = (hairpin(Family::of(mapping.pod)), self.own(pods, Datum::new()));
            if !elements.contains(&pair) {
                elements.push(pair);
            }
        }
        elements
    }

    fn element(&self, mapping: &Mapping) -> (Set, Element) {
        let (set, key) =
            place(mapping.host, Family::of(mapping.pod), mapping.protocol.number(), mapping.host_port);
        let value = Datum::new().address(mapping.pod).then(&mapping.container_port.to_be_bytes());
        (set, self.own(key, value))
    }

    /// The link that the pod shares with others. It stays when the pod goes.
    fn shared(&self) -> Option<(Set, Element)> {
        let name = self.bridge?;
        let key = Datum::new().interface(name).interface(name);
        Some((BOUNCE, Element { key, ..Element::default() }))
    }

    fn own(&self, key: Datum, value: Datum) -> Element {
        Element { key, value, comment: mark(&self.owner) }
    }
}

fn place(host: Option<IpAddr>, family: Family, protocol: u8, port: u16) -> (Set, Datum) {
    let key = Datum::new().then(&[protocol]);
    match host {
        None => (any(family), key.then(&port.to_be_bytes())),
        Some(address) => (of_address(family), key.address(address).then(&port.to_be_bytes())),
    }
}

/// Whom an element belongs to: the hash decides, the rest is for people. `nft` must be able to read it.
fn mark(owner: &Owner<'_>) -> String {
    let mark = format!("{} {} {}", attachment_hash(owner), owner.container_id, owner.ifname);
    mark.replace(['"', '\\', '\n'], "?")
}

/// Whether `element` belongs to the attachment of `hash`.
fn belongs_to(element: &Element, hash: &str) -> bool {
    element.comment.split(' ').next() == Some(hash)
}

/// Puts the elements in, and makes what they need unless it is there. Says whose the first port is that
/// was not free.
pub(crate) fn claim(nft: &Nft, claim: &Claim<'_>) -> io::Result<Option<Taken>> {
    for _ in 0..ATTEMPTS {
        let generation = nft.generation()?;
        if let Some(taken) = first_overlap(nft, claim)? {
            return Ok(Some(taken));
        }
        let mut batch = Batch::of_generation(generation);
        if !chains_are_whole(nft)? {
            add_chains(&mut batch);
        }
        if let Some((set, element)) = claim.shared() {
            batch.ensure_element(&set, &element);
        }
        for (set, element) in claim.elements() {
            // A pod's address is the pod's; whoever had it before left no port behind.
            if set.value.is_empty() {
                batch.ensure_element(&set, &element);
            } else {
                batch.add_element(&set, &element);
            }
        }
        match nft.commit(batch) {
            Err(error) if error::is(&error, Errno::ERESTART) => {}
            Err(error) => {
                return first_taken(nft, claim, |_| true)?.map_or(Err(error), |taken| Ok(Some(taken)));
            }
            Ok(()) => return Ok(None),
        }
    }
    Err(Errno::ERESTART.into())
}

/// Puts back what was claimed, whatever of it is there. Says whose the first port is that somebody else
/// got meanwhile; then nothing is put back.
pub(crate) fn restore(nft: &Nft, claim: &Claim<'_>) -> io::Result<Option<Taken>> {
    let mut batch = Batch::new();
    add_chains(&mut batch);
    let elements = claim.elements().into_iter().chain(claim.shared());
    elements.for_each(|(set, element)| batch.ensure_element(&set, &element));
    let hash = attachment_hash(&claim.owner);
    match nft.commit(batch) {
        Err(error) => {
            let taken = first_taken(nft, claim, |held| !belongs_to(held, &hash))?;
            taken.map_or(Err(error), |taken| Ok(Some(taken)))
        }
        Ok(()) => Ok(None),
    }
}

fn add_chains(batch: &mut Batch) {
    batch.add_table(TABLE);
    let sets = |family| [any(family), of_address(family), hairpin(family)];
    Family::ALL.into_iter().flat_map(sets).chain([BOUNCE]).for_each(|set| batch.add_set(&set));
    chains().iter().for_each(|(chain, rules)| base::replace(batch, chain, rules));
}

fn chains_are_whole(nft: &Nft) -> io::Result<bool> {
    for (chain, rules) in &chains() {
        if !base::has_rules(nft, chain, rules)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A port of all addresses excludes the same port of one, which is in another map.
fn first_overlap(nft: &Nft, claim: &Claim<'_>) -> io::Result<Option<Taken>> {
    let mut of_one: Vec<(Family, Vec<Element>)> = Vec::new();
    for mapping in claim.mappings {
        let family = Family::of(mapping.pod);
        let port = |host| place(host, family, mapping.protocol.number(), mapping.host_port);
        let held = if mapping.host.is_some() {
            let (set, key) = port(None);
            nft.element(&set, &key)?
        } else {
            if !of_one.iter().any(|(read, _)| *read == family) {
                of_one.push((family, nft.elements(&of_address(family))?));
            }
            let all = of_one.iter().find(|(read, _)| *read == family);
            let (_, key) = port(None);
            all.and_then(|(_, all)| all.iter().find(|element| is_same_port(&element.key, &key))).cloned()
        };
        if let Some(held) = held {
            return Ok(Some(taken(mapping, &held)));
        }
    }
    Ok(None)
}

/// Whether a key with an address has the protocol and the port of one without.
fn is_same_port(with_address: &Datum, without: &Datum) -> bool {
    let ends = |key: &Datum| Some((*key.bytes().first_chunk::<4>()?, *key.bytes().last_chunk::<4>()?));
    ends(with_address) == ends(without)
}

fn first_taken(
    nft: &Nft,
    claim: &Claim<'_>,
    is_taken: impl Fn(&Element) -> bool,
) -> io::Result<Option<Taken>> {
    for mapping in claim.mappings {
        let (set, element) = claim.element(mapping);
        if let Some(held) = nft.element(&set, &element.key)?.filter(&is_taken) {
            return Ok(Some(taken(mapping, &held)));
        }
    }
    Ok(None)
}

fn taken(wanted: &Mapping, held: &Element) -> Taken {
    let (hash, holder) = held.comment.split_once(' ').unwrap_or(("", &held.comment));
    Taken { wanted: *wanted, hash: hash.to_owned(), holder: holder.to_owned() }
}

/// Takes out those elements for `ports` that belong to `owner`. What is not there, or is another's, is
/// no failure. Returns the pods' addresses that they led to.
pub(crate) fn release(
    nft: &Nft,
    owner: &Owner<'_>,
    ports: &[HostPort],
    addresses: &[IpAddr],
) -> io::Result<Vec<IpAddr>> {
    remove(nft, || {
        let keys = ports.iter().flat_map(|port| {
            let families = Family::ALL.into_iter().filter(|family| port.is_of(*family));
            families.map(|family| place(port.address(), family, port.protocol.number(), port.host_port))
        });
        let mut owned = Vec::new();
        for (set, key) in keys {
            owned.extend(owned_at(nft, &set, &key, owner)?);
        }
        let led_to = owned.iter().filter_map(|(_, element)| pod(element));
        // Somebody may have emptied the maps alone.
        let mut pods: Vec<IpAddr> = led_to.chain(addresses.iter().copied()).collect();
        pods.sort_unstable();
        pods.dedup();
        for pod in pods {
            let key = Datum::new().address(pod).address(pod);
            owned.extend(owned_at(nft, &hairpin(Family::of(pod)), &key, owner)?);
        }
        Ok(owned)
    })
}

/// The same where nobody knows the ports: all elements are looked at.
pub(crate) fn release_all(nft: &Nft, hash: &str) -> io::Result<Vec<IpAddr>> {
    remove(nft, || {
        let mut owned = Vec::new();
        for family in Family::ALL {
            for set in [any(family), of_address(family), hairpin(family)] {
                let all = nft.elements(&set)?.into_iter();
                owned.extend(all.filter(|one| belongs_to(one, hash)).map(|one| (set, one)));
            }
        }
        Ok(owned)
    })
}

fn owned_at(nft: &Nft, set: &Set, key: &Datum, owner: &Owner<'_>) -> io::Result<Option<(Set, Element)>> {
    let found = nft.element(set, key)?.filter(|found| belongs_to(found, &attachment_hash(owner)));
    Ok(found.map(|found| (*set, found)))
}

fn remove(nft: &Nft, owned: impl Fn() -> io::Result<Vec<(Set, Element)>>) -> io::Result<Vec<IpAddr>> {
    for _ in 0..ATTEMPTS {
        let generation = nft.generation()?;
        let owned = owned()?;
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::of_generation(generation);
        owned.iter().for_each(|(set, element)| batch.remove_element(set, &element.key));
        match nft.commit(batch) {
            Err(error) if error::is(&error, Errno::ERESTART) => {}
            done => return done.map(|()| owned.iter().filter_map(|(_, element)| pod(element)).collect()),
        }
    }
    Err(Errno::ERESTART.into())
}

/// The pod that an element leads to; none in a set.
fn pod(element: &Element) -> Option<IpAddr> {
    let value = element.value.bytes();
    match value.len() {
        8 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        20 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

/// The first thing that is not as [`claim`] left it.
pub(crate) fn lost(nft: &Nft, claim: &Claim<'_>) -> io::Result<Option<String>> {
    if !chains_are_whole(nft)? {
        return Ok(Some("the host port chains of nftables table inet tripod are gone or emptied".to_owned()));
    }
    if let Some((set, wanted)) = claim.shared()
        && nft.element(&set, &wanted.key)?.is_none()
    {
        let bridge = claim.bridge.unwrap_or_default();
        return Ok(Some(format!("bridge {bridge} is gone from {} of nftables table inet tripod", set.name)));
    }
    for (set, wanted) in claim.elements() {
        let found = nft.element(&set, &wanted.key)?;
        if found.is_none_or(|found| found.value != wanted.value || found.comment != wanted.comment) {
            let ports: Vec<_> = claim.mappings.iter().filter(|one| claim.element(one).1 == wanted).collect();
            let port = ports.first().map_or_else(|| "hairpin".to_owned(), ToString::to_string);
            let set = set.name;
            return Ok(Some(format!("host port {port} is gone from {set} of nftables table inet tripod")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_belongs_to_whom_its_mark_names() {
        let owner = Owner { container_id: "c1", ifname: "eth\"0" };
        let element = Element { comment: mark(&owner), ..Element::default() };
        assert!(element.comment.ends_with(" c1 eth?0"), "{}", element.comment);
        assert!(belongs_to(&element, &attachment_hash(&owner)));
        assert!(!belongs_to(&element, &attachment_hash(&Owner { container_id: "c1", ifname: "eth1" })));
        assert!(!belongs_to(&Element::default(), &attachment_hash(&owner)));
    }

    #[test]
    fn a_port_is_the_same_whatever_the_address() {
        let key = |host: Option<&str>, port| {
            let host: Option<IpAddr> = host.map(|host| host.parse().unwrap());
            place(host, host.map_or(Family::V4, Family::of), 6, port).1
        };
        assert!(is_same_port(&key(Some("192.0.2.1"), 80), &key(None, 80)));
        assert!(is_same_port(&key(Some("fd00::1"), 80), &key(None, 80)));
        assert!(!is_same_port(&key(Some("192.0.2.1"), 81), &key(None, 80)));
    }
}
