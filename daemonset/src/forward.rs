//! Rules of others that drop what the node forwards, and so what pods send and get. They are theirs to
//! change: the admin is told, with what to do.

use std::io;

use ipnetwork::IpNetwork;
use tripod_cni::nft::Nft;
use tripod_cni::nft::foreign::{self, ForwardDrop};

use crate::standing::{Difference, Standing};

/// What was last seen of others' rules.
#[derive(Debug, Default)]
pub struct Forward {
    /// The ruleset's generation then. The kernel counts each change of any table.
    generation: Option<u32>,
    drops: Standing<ForwardDrop>,
}

impl Forward {
    /// Tells which drops came and went since the last look, as far as they may concern `pods`.
    pub fn tell(&mut self, pods: &[IpNetwork]) {
        match self.look(pods) {
            Ok(Difference { come, gone }) => {
                for drop in come {
                    let fix = remedy(&drop, pods);
                    tracing::warn!(chain = %drop, fix, "packets to and from pods may be lost in another's table");
                }
                for drop in gone {
                    tracing::info!(chain = %drop, "this is no more, and stops no packets of pods");
                }
            }
            Err(error) => tracing::debug!(%error, "the rules of others cannot be read"),
        }
    }

    /// The chains that dropped packets at the last look.
    pub fn drops(&self) -> &[ForwardDrop] {
        self.drops.found()
    }

    fn look(&mut self, pods: &[IpNetwork]) -> io::Result<Difference<ForwardDrop>> {
        let unchanged = Difference { come: Vec::new(), gone: Vec::new() };
        let nft = Nft::open()?;
        let generation = nft.generation()?;
        if self.generation == Some(generation) {
            return Ok(unchanged);
        }
        let mut drops = foreign::forward_drops(&nft)?;
        drops.retain(|drop| concerned(drop, pods).next().is_some());
        // Who reads while somebody writes may miss a chain; the next look sees it.
        if nft.generation()? != generation {
            return Ok(unchanged);
        }
        self.generation = Some(generation);
        Ok(self.drops.replace(drops))
    }
}

/// The prefixes whose packets pass the chain.
fn concerned<'a>(drop: &ForwardDrop, pods: &'a [IpNetwork]) -> impl Iterator<Item = &'a IpNetwork> {
    let (ipv4, ipv6) = (drop.family != "ip6", drop.family != "ip");
    pods.iter().filter(move |prefix| if prefix.is_ipv4() { ipv4 } else { ipv6 })
}

/// By addresses, not by our link group: `iptables` cannot read its own table any more with such a rule in it.
fn remedy(drop: &ForwardDrop, pods: &[IpNetwork]) -> String {
    let ForwardDrop { family, table, chain, .. } = drop;
    let rules = concerned(drop, pods).flat_map(|prefix| {
        let layer = if prefix.is_ipv4() { "ip" } else { "ip6" };
        ["saddr", "daddr"]
            .map(|side| format!("nft insert rule {family} {table} {chain} {layer} {side} {prefix} accept"))
    });
    format!(
        "let pods pass there, for no rule in another table can undo a drop: {}; to make it last, tell the \
         program whose table it is (Docker: its chain DOCKER-USER)",
        rules.collect::<Vec<_>>().join("; ")
    )
}

#[cfg(test)]
mod tests {
    use tripod_cni::nft::foreign::Cause;

    use super::*;

    fn drop_of(family: &'static str) -> ForwardDrop {
        ForwardDrop { family, table: "filter".into(), chain: "FORWARD".into(), cause: Cause::Policy }
    }

    fn pods() -> Vec<IpNetwork> {
        ["10.1.0.0/24", "fd00::/64"].map(|prefix| prefix.parse().unwrap()).into()
    }

    #[test]
    fn the_remedy_names_the_pods_that_pass_the_chain() {
        let rule = |family, matched| format!("nft insert rule {family} filter FORWARD {matched} accept");
        let ip6 = remedy(&drop_of("ip6"), &pods());
        assert!(ip6.contains(&rule("ip6", "ip6 saddr fd00::/64")), "{ip6}");
        assert!(ip6.contains(&rule("ip6", "ip6 daddr fd00::/64")) && !ip6.contains("10.1"), "{ip6}");
        let inet = remedy(&drop_of("inet"), &pods());
        for matched in ["ip saddr 10.1.0.0/24", "ip6 saddr fd00::/64"] {
            assert!(inet.contains(&rule("inet", matched)), "{inet}");
        }
    }

    #[test]
    fn a_family_without_pods_is_not_concerned() {
        let ipv4 = &pods()[..1];
        assert_eq!(concerned(&drop_of("ip6"), ipv4).count(), 0);
        assert_eq!(concerned(&drop_of("ip"), ipv4).count(), 1);
        assert_eq!(concerned(&drop_of("inet"), &pods()).count(), 2);
    }
}
