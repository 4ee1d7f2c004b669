//! Rules of ours in chains of others, which let pods pass where the admin asked for it: no rule in another
//! table can undo a drop.
//!
//! They match addresses, not our link group: `iptables` cannot read its own table any more with a rule in it
//! that it has no words for. A comment is their mark.

use std::io;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::comment::read_comment;
use super::expr::{Expr, Family, Side, Verdict, address_in, load_address, masked};
use super::foreign::{self, ForwardChain};
use super::is_lacking;
use super::message::Batch;
use super::socket::Nft;
use crate::error;
use crate::netlink::Reader;

/// A rule of ours in another's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    handle: u64,
    /// Its comment, which says all that it does.
    text: String,
}

/// What the comments of our rules in others' chains begin with.
pub const MARK: &str = "tripod: ";

/// Removes all rules of ours from forward chains of others. A kernel that has no chains has none of ours.
pub fn remove(nft: &Nft) -> io::Result<()> {
    loop {
        let generation = nft.generation()?;
        let chains = match foreign::forward_chains(nft) {
            Err(error) if is_lacking(&error) || error::is(&error, Errno::EINVAL) => return Ok(()),
            chains => chains?,
        };
        let Some(chain) = chains.iter().find(|chain| !chain.passages.is_empty()) else { return Ok(()) };
        match chain.let_pass(nft, generation, &[]) {
            Err(error) if error::is(&error, Errno::ERESTART) => {}
            removed => removed?,
        }
    }
}

impl Passage {
    /// The rule of these attributes, if it is one of ours.
    pub(super) fn read(rule: Reader<'_>) -> Option<Self> {
        let text = read_comment(rule.find(7)?).filter(|text| text.starts_with(MARK))?;
        Some(Self { handle: foreign::handle(rule)?, text })
    }
}

impl ForwardChain {
    /// Whether packets to and from `pods`, and no others, pass the chain by rules of ours.
    pub fn lets_pass(&self, pods: &[IpNetwork]) -> bool {
        let wanted = self.wanted(pods);
        let texts = || self.passages.iter().map(|passage| &passage.text);
        self.passages.len() == wanted.len() && wanted.iter().all(|(text, _)| texts().any(|it| it == text))
    }

    /// Makes our rules in the chain those that let `pods` pass, and no others: at its end, or before the rule at
    /// its end that drops, so that what others say of packets before that goes on to hold. `ERESTART` where the
    /// ruleset is not of `generation` any more, and handles may be others'; `EPERM` where the table has an owner
    /// who lets nobody else change it.
    pub fn let_pass(&self, nft: &Nft, generation: u32, pods: &[IpNetwork]) -> io::Result<()> {
        let mut batch = Batch::of_generation(generation);
        for passage in &self.passages {
            batch.remove_rule(&self.place, passage.handle);
        }
        for (text, exprs) in self.wanted(pods) {
            batch.place_rule(&self.place, self.last, &exprs, &text);
        }
        nft.commit(batch)
    }

    fn wanted(&self, pods: &[IpNetwork]) -> Vec<(String, Vec<Expr>)> {
        let sides = [(Side::Source, "from"), (Side::Destination, "to")];
        let of = |prefix: &IpNetwork| {
            let prefix = *prefix;
            sides.map(|(side, word)| (format!("{MARK}{word} {prefix}"), self.rule(side, prefix)))
        };
        self.concerned(pods).flat_map(of).collect()
    }

    fn rule(&self, side: Side, prefix: IpNetwork) -> Vec<Expr> {
        let matched = if self.layer() == "inet" {
            address_in(side, prefix)
        } else {
            let (load, address) = masked(load_address(side, Family::of(prefix.ip())), prefix);
            [load, vec![Expr::Equal(address)]].concat()
        };
        [matched, vec![Expr::Verdict(Verdict::Accept)]].concat()
    }
}
