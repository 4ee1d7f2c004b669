//! Rules of others that stop pods' traffic, for those who explain a node to a person. ADD never asks:
//! what others drop is theirs to decide.

use std::fmt;
use std::io;

use ipnetwork::IpNetwork;

use super::base::TABLE;
use super::message::Place;
use super::passage::Passage;
use super::socket::Nft;
use crate::netlink::{Reader, text};

/// A base chain on hook forward, outside our table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardChain {
    pub(super) place: Place,
    /// What stops packets that no rule of the chain lets pass; none where they pass.
    pub cause: Option<Cause>,
    /// Handle of the last rule, where that drops.
    pub(super) last: Option<u64>,
    /// Our rules in it.
    pub passages: Vec<Passage>,
}

/// What stops a packet at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The chain's policy.
    Policy,
    /// Its last rule, which drops or rejects.
    LastRule,
}

impl ForwardChain {
    /// Its table and itself as in `nft` commands: `ip filter FORWARD`.
    pub fn path(&self) -> String {
        let Place { table, chain, .. } = &self.place;
        format!("{} {table} {chain}", self.layer())
    }

    /// Family of its table as `nft` writes it: `ip`, `ip6` or `inet`.
    pub fn layer(&self) -> &'static str {
        layer(self.place.family).unwrap_or_default()
    }

    /// The prefixes whose packets pass the chain.
    pub fn concerned<'a>(&self, pods: &'a [IpNetwork]) -> impl Iterator<Item = &'a IpNetwork> {
        let (ipv4, ipv6) = (self.layer() != "ip6", self.layer() != "ip");
        pods.iter().filter(move |prefix| if prefix.is_ipv4() { ipv4 } else { ipv6 })
    }
}

impl fmt::Display for ForwardChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { table, chain, .. } = &self.place;
        let cause = match self.cause {
            Some(Cause::Policy) => " has policy drop",
            Some(Cause::LastRule) => " ends in a rule that drops or rejects",
            None => "",
        };
        write!(f, "chain {chain} of nftables table {} {table} on hook forward{cause}", self.layer())
    }
}

/// Base chains on hook forward, outside our table, that drop by policy or by their last rule. Tables of
/// iptables in its old form (`iptables-legacy`) are not part of nf_tables and cannot be seen here.
pub fn forward_drops(nft: &Nft) -> io::Result<Vec<ForwardChain>> {
    let mut chains = forward_chains(nft)?;
    chains.retain(|chain| chain.cause.is_some());
    Ok(chains)
}

/// All base chains on hook forward, outside our table.
pub fn forward_chains(nft: &Nft) -> io::Result<Vec<ForwardChain>> {
    let mut chains = Vec::new();
    for (family, chain) in nft.chains()? {
        let Some((place, has_policy_drop)) = forwarding(family, &chain) else { continue };
        let (last, passages) = nft.rules(&place, |rules| {
            let (mut last, mut passages) = (None, Vec::new());
            for rule in rules {
                last = ends_in_drop(rule).then(|| handle(rule)).flatten();
                passages.extend(Passage::read(rule));
            }
            (last, passages)
        })?;
        let policy = has_policy_drop.then_some(Cause::Policy);
        let cause = last.map(|_| Cause::LastRule).or(policy);
        chains.push(ForwardChain { place, cause, last, passages });
    }
    Ok(chains)
}

/// What a rule is called in its table.
pub(super) fn handle(rule: Reader<'_>) -> Option<u64> {
    rule.find(3)?.try_into().ok().map(u64::from_be_bytes)
}

/// `nft`'s name of a family of tables. Bridges, ARP and devices number their hooks in their own way.
fn layer(family: u8) -> Option<&'static str> {
    match family {
        1 => Some("inet"),
        2 => Some("ip"),
        10 => Some("ip6"),
        _ => None,
    }
}

/// A chain on hook forward, by its attributes, and whether its policy is to drop.
fn forwarding(family: u8, chain: &[u8]) -> Option<(Place, bool)> {
    /// `NF_INET_FORWARD`.
    const FORWARD: u32 = 2;
    /// `NF_DROP`.
    const DROP: u32 = 0;
    let chain = Reader(chain);
    let layer = layer(family)?;
    let (table, hook) = (chain.text(1)?, chain.nested(4)?.number(1)?);
    let ours = layer == "inet" && table == TABLE.name;
    let place = Place { family, table, chain: chain.text(3)? };
    (hook == FORWARD && !ours).then_some((place, chain.number(5) == Some(DROP)))
}

/// Whether a rule drops or rejects whatever gets to it, in nf_tables' own words or in those of iptables on top of
/// it.
fn ends_in_drop(rule: Reader<'_>) -> bool {
    let exprs: Vec<_> = rule.nested(4).into_iter().flatten().map(|(_, expr)| expr).collect();
    let Some((last, before)) = exprs.split_last() else { return false };
    if !before.iter().all(|expr| lets_all_through(Reader(expr))) {
        return false;
    }
    let (name, data) = (Reader(last).text(1).unwrap_or_default(), Reader(last).nested(2));
    match name.as_str() {
        "reject" => true,
        "immediate" => {
            // NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE.
            let verdict = data.and_then(|data| data.nested(2)?.nested(2)?.number(1));
            verdict == Some(0)
        }
        "target" => {
            let target = data.and_then(|data| data.find(1)).map(text).unwrap_or_default();
            ["DROP", "REJECT"].contains(&target.as_str())
        }
        _ => false,
    }
}

/// Whether an instruction takes note of packets and holds none back.
fn lets_all_through(expr: Reader<'_>) -> bool {
    match expr.text(1).unwrap_or_default().as_str() {
        "counter" | "log" => true,
        "match" => expr.nested(2).and_then(|data| data.text(1)).as_deref() == Some("comment"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Attributes;

    fn rule(name: &str, data: &Attributes) -> Attributes {
        let counter = Attributes::new().text(1, "counter");
        let last = Attributes::new().text(1, name).nested(2, data);
        Attributes::new().nested(4, &Attributes::new().nested(1, &counter).nested(1, &last))
    }

    #[test]
    fn a_drop_is_known_in_every_dialect() {
        let verdict = |code: u32| {
            let verdict = Attributes::new().number(1, code);
            Attributes::new().number(1, 0).nested(2, &Attributes::new().nested(2, &verdict))
        };
        for (name, data, drops) in [
            ("immediate", verdict(0), true),
            ("immediate", verdict(1), false),
            ("reject", Attributes::new(), true),
            ("target", Attributes::new().text(1, "REJECT"), true),
            ("target", Attributes::new().text(1, "MASQUERADE"), false),
            ("counter", Attributes::new(), false),
        ] {
            assert_eq!(ends_in_drop(Reader(rule(name, &data).as_bytes())), drops, "{name}");
        }
        assert!(!ends_in_drop(Reader(&[])));
        let expr = |name: &str, data: &Attributes| Attributes::new().text(1, name).nested(2, data);
        let preceded = |first: &Attributes| {
            let list = Attributes::new().nested(1, first).nested(1, &expr("immediate", &verdict(0)));
            ends_in_drop(Reader(Attributes::new().nested(4, &list).as_bytes()))
        };
        assert!(preceded(&expr("match", &Attributes::new().text(1, "comment"))));
        assert!(!preceded(&expr("match", &Attributes::new().text(1, "conntrack"))));
        assert!(!preceded(&expr("cmp", &Attributes::new())), "it drops some packets only");
    }
}
