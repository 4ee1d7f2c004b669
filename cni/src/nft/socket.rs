//! Questions and transactions, over the netfilter socket of one network namespace.

use std::io;

use nix::errno::Errno;

use super::NFGENMSG;
use super::message::{self, Batch, Chain, ChainState, Place};
use super::set::{self, Datum, Element, Set};
use crate::netlink::{Answers, Protocol, Reader, Socket};
use crate::{error, failpoint};

/// A connection to nf_tables.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
}

impl Nft {
    /// Connects to the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Netfilter)? })
    }

    /// Makes all changes of `batch`, or none.
    pub fn commit(&self, batch: Batch) -> io::Result<()> {
        failpoint::step("commit to nf_tables")?;
        self.socket.transact(&batch.render())
    }

    /// What the kernel says of `chain`; nothing when there is no such chain.
    pub fn chain(&self, chain: &Chain) -> io::Result<Option<ChainState>> {
        let answer = unless_absent(self.socket.exchange(&message::get_chain(chain)))?;
        let first = answer.as_ref().and_then(|answer| answer.messages().next());
        Ok(first.map(|first| message::read_chain(first.attributes(NFGENMSG))))
    }

    /// The generation of the ruleset, for [`Batch::of_generation`].
    pub fn generation(&self) -> io::Result<u32> {
        let answer = self.socket.exchange(&message::get_generation())?;
        let number = answer.messages().next().and_then(|message| message.attributes(NFGENMSG).number(1));
        number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The element of `key`; nothing when there is none, or no such set.
    pub fn element(&self, set: &Set, key: &Datum) -> io::Result<Option<Element>> {
        let answer = unless_absent(self.socket.exchange(&message::get_element(set, key)))?;
        Ok(answer.and_then(|answer| read_all(&answer).into_iter().next()))
    }

    /// All elements; none when there is no such set. A dump, and so not for every ADD or DEL.
    pub fn elements(&self, set: &Set) -> io::Result<Vec<Element>> {
        let answer = unless_absent(self.socket.exchange(&message::get_elements(set)))?;
        Ok(answer.map(|answer| read_all(&answer)).unwrap_or_default())
    }

    /// All chains of all families: family and attributes.
    pub(super) fn chains(&self) -> io::Result<Vec<(u8, Vec<u8>)>> {
        let answer = self.socket.exchange(&message::get_chains())?;
        let chains = answer.messages().map(|message| {
            // `nfgen_family`.
            let family = message.body().first().copied().unwrap_or_default();
            (family, message.attributes(NFGENMSG).0.to_vec())
        });
        Ok(chains.collect())
    }

    /// What `read` makes of the rules of a chain, which are their attributes; of none when there is no such
    /// chain.
    pub(super) fn rules<T>(
        &self,
        at: &Place,
        read: impl FnOnce(&mut dyn Iterator<Item = Reader<'_>>) -> T,
    ) -> io::Result<T> {
        let answer = unless_absent(self.socket.exchange(&message::get_rules(at)))?;
        let rules = answer.as_ref().map(Answers::messages).into_iter().flatten();
        Ok(read(&mut rules.map(|message| message.attributes(NFGENMSG))))
    }
}

/// That a table, chain, set or element is not there is an answer.
fn unless_absent(answer: io::Result<Answers>) -> io::Result<Option<Answers>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error::is(&error, Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_all(answer: &Answers) -> Vec<Element> {
    answer.messages().flat_map(|message| set::read_elements(message.attributes(NFGENMSG))).collect()
}
