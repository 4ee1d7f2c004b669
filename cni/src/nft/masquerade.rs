//! Masquerade: which packets leave with the node's own address.
//!
//! What is hidden is a property of pod CIDRs, never of pods. The agent keeps one chain, `postrouting`,
//! for the node's pod CIDRs. An ADD with `ipMasq` keeps one chain per pod CIDR, named after it, and
//! nobody takes it away (but where an IPAM plugin gives addresses without a subnet, each is a CIDR of its
//! own, which goes with its pod): networks, and the agent, never write to one another's chain, an earlier CIDR
//! of a network serves its remaining pods, and a chain's comment tells whether it was made from the
//! same exclusions. Where two CIDRs overlap, a packet is hidden when either chain says so.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::base::{self, TABLE};
use super::expr::{Expr, Side, Verdict, address_in};
use super::message::{Batch, Chain, Hook, Rule};
use super::socket::Nft;
use crate::fingerprint;

/// Which packets leave with the node's own address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masquerade {
    /// Prefixes of this node's pods, whose packets are meant.
    pub pods: Vec<IpNetwork>,
    /// Destinations that see the pod's own address.
    pub spared: Vec<IpNetwork>,
    /// Links by which packets leave with the pod's own address, since other nodes are behind them.
    pub spared_links: Vec<&'static str>,
}

/// Who balances Services marks with this bit what it will hide itself (kube-proxy's `masqueradeBit`, 14).
const KUBE_PROXY: u32 = 1 << 14;

/// A link's name as the kernel compares it.
fn interface_name(name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(16, 0);
    padded
}

/// A group address says where a packet goes to; the receivers need to know from which pod it came.
pub const MULTICAST: [IpNetwork; 2] = [
    IpNetwork::V4(match Ipv4Network::new_checked(Ipv4Addr::new(224, 0, 0, 0), 4) {
        Some(prefix) => prefix,
        None => unreachable!(),
    }),
    IpNetwork::V6(match Ipv6Network::new_checked(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8) {
        Some(prefix) => prefix,
        None => unreachable!(),
    }),
];

/// A chain for masquerade, at priority `srcnat`.
pub(super) fn chain(name: impl Into<Cow<'static, str>>) -> Chain {
    Chain { table: TABLE, name: name.into(), kind: "nat", hook: Hook::Postrouting, priority: 100 }
}

/// Makes the chain of each pod CIDR what it should be unless it is. Cheap where it is: one question for
/// each. A transaction each, because all rules of all of them would not fit one datagram.
pub fn ensure(nft: &Nft, masquerade: &Masquerade) -> io::Result<()> {
    for wanted in masquerade.each() {
        if !wanted.is_there(nft)? {
            let mut batch = Batch::new();
            batch.add_table(TABLE);
            wanted.replace(&mut batch);
            nft.commit(batch)?;
        }
    }
    Ok(())
}

/// Removes the chains of `addresses` that were hidden as CIDRs of their own.
pub(crate) fn forget(nft: &Nft, addresses: &[IpAddr]) -> io::Result<()> {
    for address in addresses {
        let chain = chain_of(&IpNetwork::from(*address));
        if nft.chain(&chain)?.is_none() {
            continue;
        }
        let mut batch = Batch::new();
        batch.flush(&chain);
        batch.remove_chain(&chain);
        nft.commit(batch)?;
    }
    Ok(())
}

/// The first pod CIDR whose chain is not as [`ensure`] makes it.
pub fn lost(nft: &Nft, masquerade: &Masquerade) -> io::Result<Option<IpNetwork>> {
    for (prefix, wanted) in masquerade.pods.iter().zip(masquerade.each()) {
        if !wanted.is_there(nft)? {
            return Ok(Some(*prefix));
        }
    }
    Ok(None)
}

/// The chain of one pod CIDR.
struct Wanted {
    chain: Chain,
    rules: Vec<Rule>,
    comment: String,
}

impl Wanted {
    fn is_there(&self, nft: &Nft) -> io::Result<bool> {
        let count = |rules: u32| usize::try_from(rules).ok() == Some(self.rules.len());
        Ok(nft.chain(&self.chain)?.is_some_and(|found| count(found.rules) && found.comment == self.comment))
    }

    /// A comment is given at birth only, so an old chain makes way, in the same transaction.
    fn replace(&self, batch: &mut Batch) {
        batch.add_chain(&self.chain);
        batch.flush(&self.chain);
        batch.remove_chain(&self.chain);
        batch.add_chain_with(&self.chain, &self.comment);
        self.rules.iter().for_each(|rule| batch.add_rule(rule));
    }
}

/// `nft` reads no colon in a name.
fn chain_of(prefix: &IpNetwork) -> Chain {
    chain(format!("masquerade-{prefix}").replace(':', "-"))
}

impl Masquerade {
    fn each(&self) -> impl Iterator<Item = Wanted> + '_ {
        self.pods.iter().map(|prefix| {
            let spared = self.spared.iter().filter(|spared| spared.is_ipv4() == prefix.is_ipv4());
            let one = Self {
                pods: vec![*prefix],
                spared: spared.copied().collect(),
                spared_links: self.spared_links.clone(),
            };
            let chain = chain_of(prefix);
            let rules = one.rules(&chain);
            let exclusions = one.spared.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            Wanted { chain, rules, comment: fingerprint::digits(&[exclusions.as_bytes()]) }
        })
    }

    /// The rules of `chain`.
    pub(super) fn rules(&self, chain: &Chain) -> Vec<Rule> {
        let verdict = vec![Expr::Verdict(Verdict::Return)];
        let marked = vec![
            Expr::Mark,
            Expr::Mask(KUBE_PROXY.to_ne_bytes().to_vec()),
            Expr::NotEqual(0_u32.to_ne_bytes().to_vec()),
        ];
        let marked = base::rule(chain, [marked, verdict.clone()]);
        let by_link = self.spared_links.iter().map(|name| {
            let matched = vec![Expr::OutgoingName, Expr::Equal(interface_name(name))];
            base::rule(chain, [matched, verdict.clone()])
        });
        let spare = self.spared.iter().map(|prefix| {
            let matched = address_in(Side::Destination, *prefix);
            base::rule(chain, [matched, vec![Expr::Verdict(Verdict::Return)]])
        });
        let hide = self.pods.iter().map(|prefix| {
            let matched = address_in(Side::Source, *prefix);
            base::rule(chain, [matched, vec![Expr::Masquerade]])
        });
        std::iter::once(marked).chain(by_link).chain(spare).chain(hide).collect()
    }
}
