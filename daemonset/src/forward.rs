//! Rules of others that drop what the node forwards, and so what pods send and get. They are theirs to
//! change: the admin is told, with what to do, or says that we shall do it.

use std::io;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use tripod_cni::nft::Nft;
use tripod_cni::nft::foreign::{self, ForwardChain};

use crate::config::ForwardDrop;
use crate::standing::{Difference, Standing};

/// What was last seen of others' rules.
#[derive(Debug, Default)]
pub struct Forward {
    /// What the last look was made for: the ruleset's generation, of which the kernel counts each change of
    /// any table, the admin's word and the pods.
    looked: Option<(u32, ForwardDrop, Vec<IpNetwork>)>,
    drops: Standing<String>,
    /// What could not be repaired, and why.
    stuck: Standing<String>,
}

/// What a look at others' chains gave.
#[derive(Debug, Default)]
struct Look {
    /// Chains that drop, each with its remedy.
    drops: Vec<(String, String)>,
    stuck: Vec<String>,
}

impl Forward {
    /// Lets pods pass where the admin wants that. Tells which drops came and went since the last look, as far
    /// as they concern `pods`.
    pub fn keep(&mut self, word: ForwardDrop, pods: &[IpNetwork]) {
        match self.look(word, pods) {
            Ok(Some(look)) => self.tell(look),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the rules of others cannot be read"),
        }
    }

    /// The chains that dropped packets of pods at the last look.
    pub fn drops(&self) -> &[String] {
        self.drops.found()
    }

    fn tell(&mut self, Look { drops, stuck }: Look) {
        for error in self.stuck.replace(stuck).come {
            tracing::error!(error, "cannot let pods pass in another's table");
        }
        let Difference { come, gone } =
            self.drops.replace(drops.iter().map(|(chain, _)| chain.clone()).collect());
        for (chain, fix) in drops.iter().filter(|(chain, _)| come.contains(chain)) {
            tracing::warn!(chain, fix, "packets to and from pods may be lost in another's table");
        }
        for chain in gone {
            tracing::info!(chain, "this is no more, and stops no packets of pods");
        }
    }

    /// None where nothing is new.
    fn look(&mut self, word: ForwardDrop, pods: &[IpNetwork]) -> io::Result<Option<Look>> {
        let nft = Nft::open()?;
        for _ in 0..MOST_CHANGES {
            let now = (nft.generation()?, word, pods.to_vec());
            if self.looked.as_ref() == Some(&now) {
                return Ok(None);
            }
            let chains = foreign::forward_chains(&nft)?;
            // Who reads while somebody writes may miss a chain; the next look sees it.
            if nft.generation()? != now.0 {
                return Ok(None);
            }
            let mut look = Look::default();
            let has_changed = chains.iter().any(|chain| look.at((&nft, now.0), chain, word, pods));
            if !has_changed {
                // What failed is tried again.
                self.looked = look.stuck.is_empty().then_some(now);
                return Ok(Some(look));
            }
        }
        Ok(None)
    }
}

/// How many chains are changed at one look. Each change is of a ruleset that nobody changed meanwhile.
const MOST_CHANGES: usize = 32;

impl Look {
    /// Whether the ruleset is another one now: a chain was changed, or somebody else was quicker. Rules of ours go
    /// where nothing is dropped any more, or where they are not wanted.
    fn at(&mut self, at: (&Nft, u32), chain: &ForwardChain, word: ForwardDrop, pods: &[IpNetwork]) -> bool {
        let drops = chain.cause.is_some() && chain.concerned(pods).next().is_some();
        let passing = if drops && word == ForwardDrop::Repair { pods } else { &[] };
        let is_right = chain.lets_pass(passing);
        let changed = if is_right { Ok(()) } else { change(at, chain, passing) };
        if changed.as_ref().is_err_and(is_outrun) {
            return true;
        }
        if drops && (passing.is_empty() || changed.is_err()) {
            self.drops.push((chain.to_string(), remedy(chain, pods)));
        }
        let has_changed = !is_right && changed.is_ok();
        self.stuck.extend(changed.err().map(|error| format!("{chain}: {error}")));
        has_changed
    }
}

fn change((nft, generation): (&Nft, u32), chain: &ForwardChain, passing: &[IpNetwork]) -> io::Result<()> {
    chain.let_pass(nft, generation, passing)?;
    match passing {
        [] => tracing::info!(%chain, "removed our rules from another's table"),
        pods => {
            let pods = crate::node_facts::list(chain.concerned(pods));
            tracing::info!(%chain, pods, "forwardDrop is \"repair\": pods pass in another's table");
        }
    }
    Ok(())
}

/// Whether the ruleset changed between the look at it and what we wanted to do.
fn is_outrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ERESTART as i32)
}

/// By addresses, not by our link group: `iptables` cannot read its own table any more with such a rule in it.
fn remedy(drop: &ForwardChain, pods: &[IpNetwork]) -> String {
    let path = drop.path();
    let rules = drop.concerned(pods).flat_map(|prefix| {
        let layer = if prefix.is_ipv4() { "ip" } else { "ip6" };
        ["saddr", "daddr"].map(|side| format!("nft insert rule {path} {layer} {side} {prefix} accept"))
    });
    format!(
        "let pods pass there, for no rule in another table can undo a drop: {}; to make it last, tell the \
         program whose table it is (Docker: its chain DOCKER-USER), or set forwardDrop in node.yaml to \"repair\"",
        rules.collect::<Vec<_>>().join("; ")
    )
}
