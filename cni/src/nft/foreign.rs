//! Rules of others that stop pods' traffic, for those who explain a node to a person. ADD never asks:
//! what others drop is theirs to decide.

use std::fmt;
use std::io;

use super::base::TABLE;
use super::socket::Nft;
use crate::netlink::{Reader, text};

/// A chain that forwarded packets do not pass unless one of its rules lets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDrop {
    /// Family of its table as `nft` writes it: `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// What stops them.
    pub cause: Cause,
}

/// What stops a packet at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The chain's policy.
    Policy,
    /// Its last rule, which drops or rejects.
    LastRule,
}

impl fmt::Display for ForwardDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, chain, cause } = self;
        let cause = match cause {
            Cause::Policy => "has policy drop",
            Cause::LastRule => "ends in a rule that drops or rejects",
        };
        write!(f, "chain {chain} of nftables table {family} {table} on hook forward {cause}")
    }
}

/// Base chains on hook forward, outside our table, that drop by policy or by their last rule. Tables of
/// iptables in its old form (`iptables-legacy`) are not part of nf_tables and cannot be seen here.
pub fn forward_drops(nft: &Nft) -> io::Result<Vec<ForwardDrop>> {
    let mut drops = Vec::new();
    for (number, chain) in nft.chains()?.iter().filter_map(|(family, chain)| forwarding(*family, chain)) {
        let ends_in_drop =
            || Ok::<_, io::Error>(ends_in_drop(&nft.last_rule(number, &chain.table, &chain.chain)?));
        if chain.cause == Cause::Policy || ends_in_drop()? {
            drops.push(chain);
        }
    }
    Ok(drops)
}

/// A chain on hook forward, by its attributes; its cause is the last rule until that has been read.
fn forwarding(family: u8, chain: &[u8]) -> Option<(u8, ForwardDrop)> {
    /// `NF_INET_FORWARD`.
    const FORWARD: u32 = 2;
    /// `NF_DROP`.
    const DROP: u32 = 0;
    let chain = Reader(chain);
    let name = match family {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        // Bridges, ARP and devices number their hooks in their own way.
        _ => return None,
    };
    let (table, hook) = (chain.text(1)?, chain.nested(4)?.number(1)?);
    let ours = name == "inet" && table == TABLE.name;
    let cause = if chain.number(5) == Some(DROP) { Cause::Policy } else { Cause::LastRule };
    let found = ForwardDrop { family: name, table, chain: chain.text(3)?, cause };
    (hook == FORWARD && !ours).then_some((family, found))
}

/// Whether the last instruction of a rule drops or rejects, in nf_tables' own words or in those of
/// iptables on top of it.
fn ends_in_drop(rule: &[u8]) -> bool {
    let Some((_, last)) = Reader(rule).nested(4).into_iter().flatten().last() else { return false };
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
            assert_eq!(ends_in_drop(rule(name, &data).as_bytes()), drops, "{name}");
        }
        assert!(!ends_in_drop(&[]));
    }
}
