//! Table `inet tripod`: what it holds, as values, and how it comes into being.
//!
//! The guard chain is made by whoever comes first, the agent or an ADD, and restored by either should
//! somebody flush the ruleset. The chain `postrouting` is the agent's. What host ports and
//! `ipMasq` need is made by the first ADD that asks for it, and nobody's [`apply`] touches it.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use nix::errno::Errno;

use super::expr::{Expr, Side, Verdict, address_in};
use super::is_lacking;
use super::masquerade::{self, Masquerade};
use super::message::{Batch, Chain, Hook, Layer, Rule, Table};
use super::socket::Nft;
use crate::error;

/// Group of every host end of a pod's link ("tp" in ASCII): one number by which rules and sweeps tell
/// our links from others.
pub const LINK_GROUP: u32 = 0x7470;

pub(super) const TABLE: Table = Table { layer: Layer::Inet, name: "tripod" };

/// Before connection tracking and every other rule: priority `raw`.
const GUARD: Chain = Chain {
    table: TABLE,
    name: Cow::Borrowed("guard"),
    kind: "filter",
    hook: Hook::Prerouting,
    priority: -300,
};

/// The agent's masquerade.
const POSTROUTING: &str = "postrouting";

/// Makes the guard chain what it should be unless it is. Cheap where it is: one question.
pub fn ensure_guard(nft: &Nft) -> io::Result<()> {
    if has_rules(nft, &GUARD, &guard_rules())? { Ok(()) } else { apply(nft, None) }
}

/// Makes the guard chain, and with `masquerade` that chain too, what they should be, in one
/// transaction: no packet finds a chain without its rules, and two who do this at once end well.
pub fn apply(nft: &Nft, masquerade: Option<&Masquerade>) -> io::Result<()> {
    let mut batch = Batch::new();
    batch.add_table(TABLE);
    replace(&mut batch, &GUARD, &guard_rules());
    if let Some(masquerade) = masquerade {
        let chain = masquerade::chain(POSTROUTING);
        replace(&mut batch, &chain, &masquerade.rules(&chain));
    }
    nft.commit(batch)
}

/// Removes the table and all that is in it, pods' host ports too; absence is success.
pub fn remove(nft: &Nft) -> io::Result<()> {
    remove_table(nft, TABLE)
}

/// A kernel that has no such tables has none of ours.
pub(super) fn remove_table(nft: &Nft, table: Table) -> io::Result<()> {
    let mut batch = Batch::new();
    batch.remove_table(table);
    match nft.commit(batch) {
        Err(error) if is_lacking(&error) || error::is(&error, Errno::EINVAL) => Ok(()),
        removed => removed,
    }
}

/// Whether the chains have as many rules as they should. Somebody may have flushed the ruleset, or the
/// chains alone.
pub fn is_whole(nft: &Nft, masquerade: Option<&Masquerade>) -> io::Result<bool> {
    let guard = has_rules(nft, &GUARD, &guard_rules())?;
    let chain = masquerade::chain(POSTROUTING);
    let masquerade = masquerade.map_or(Ok(true), |wanted| has_rules(nft, &chain, &wanted.rules(&chain)));
    Ok(guard && masquerade?)
}

pub(super) fn has_rules(nft: &Nft, chain: &Chain, rules: &[Rule]) -> io::Result<bool> {
    let found = nft.chain(chain)?.and_then(|state| usize::try_from(state.rules).ok());
    Ok(found == Some(rules.len()))
}

pub(super) fn replace(batch: &mut Batch, chain: &Chain, rules: &[Rule]) {
    batch.add_chain(chain);
    batch.flush(chain);
    for rule in rules {
        batch.add_rule(rule);
    }
}

/// What a pod must not send, whatever the rest of the node's rules say.
fn guard_rules() -> Vec<Rule> {
    let loopback6 = IpNetwork::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let matches = [
        // The host's loopback services, which `route_localnet` would open (CVE-2020-8558).
        address_in(Side::Destination, IpNetwork::V4(LOOPBACK4)),
        address_in(Side::Destination, loopback6),
        // A pod is no router (CVE-2020-10749).
        icmpv6(ROUTER_ADVERTISEMENT),
        icmpv6(REDIRECT),
        // A pod sends from the addresses that are routed to it.
        vec![Expr::ReversePath, Expr::Equal(0u32.to_ne_bytes().to_vec())],
    ];
    matches
        .into_iter()
        .map(|exprs| rule(&GUARD, [from_pods(), exprs, vec![Expr::Verdict(Verdict::Drop)]]))
        .collect()
}

pub(super) const LOOPBACK4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(prefix) => prefix,
    None => unreachable!(),
};

pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(super) const REDIRECT: u8 = 137;

pub(super) fn from_pods() -> Vec<Expr> {
    vec![Expr::IncomingGroup, Expr::Equal(LINK_GROUP.to_ne_bytes().to_vec())]
}

pub(super) fn icmpv6(kind: u8) -> Vec<Expr> {
    const IPPROTO_ICMPV6: u8 = 58;
    let load_type = Expr::Transport { offset: 0, length: 1 };
    vec![Expr::Protocol, Expr::Equal(vec![IPPROTO_ICMPV6]), load_type, Expr::Equal(vec![kind])]
}

pub(super) fn rule<const PARTS: usize>(chain: &Chain, parts: [Vec<Expr>; PARTS]) -> Rule {
    Rule { chain: chain.clone(), exprs: parts.concat() }
}
