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

mod chains;
mod release;

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::ATTEMPTS;
use super::base::TABLE;
use super::expr::Family;
use super::message::Batch;
use super::set::{Datum, Element, Field, Set};
use super::socket::Nft;
use crate::error;
use crate::hostport::Mapping;
use crate::ipam::store::Owner;
use crate::record::attachment_hash;
use chains::{add_chains, chains_are_whole};
pub(crate) use release::{release, release_all};

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
