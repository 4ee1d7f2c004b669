//! The chains through which host ports work, with their rules.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::{BOUNCE, any, hairpin, of_address};
use crate::nft::base::{self, LOOPBACK4, TABLE};
use crate::nft::expr::{Expr, Family, Side, Verdict, address_in, concatenation, load_address, of_family};
use crate::nft::message::{Batch, Chain, Hook, Rule};
use crate::nft::socket::Nft;

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

pub(super) fn add_chains(batch: &mut Batch) {
    batch.add_table(TABLE);
    let sets = |family| [any(family), of_address(family), hairpin(family)];
    Family::ALL.into_iter().flat_map(sets).chain([BOUNCE]).for_each(|set| batch.add_set(&set));
    chains().iter().for_each(|(chain, rules)| base::replace(batch, chain, rules));
}

pub(super) fn chains_are_whole(nft: &Nft) -> io::Result<bool> {
    for (chain, rules) in &chains() {
        if !base::has_rules(nft, chain, rules)? {
            return Ok(false);
        }
    }
    Ok(true)
}
