//! The netfilter socket of one network namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use super::attribute::Reader;
use super::message::{self, Batch, Chain, ChainState};
use super::set::{self, Datum, Element, Set};
use crate::{error, failpoint};

/// Longest datagram of the kernel's, which gives a dump in pieces of at most 32 KiB.
const LONGEST: usize = 64 << 10;

/// `NETLINK_NETFILTER`.
const PROTOCOL: isize = 12;

/// A connection to netfilter. The kernel works while a message is being sent, so every answer is there
/// when sending returns; nothing here waits.
#[derive(Debug)]
pub(crate) struct Netfilter {
    socket: Socket,
}

/// A connection to nf_tables.
#[derive(Debug)]
pub struct Nft {
    netfilter: Netfilter,
}

impl Nft {
    /// Connects to the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netfilter: Netfilter::open()? })
    }

    /// Makes all changes of `batch`, or none.
    pub fn commit(&self, batch: Batch) -> io::Result<()> {
        failpoint::step("commit to nf_tables")?;
        self.netfilter.exchange(&batch.render()).map(drop)
    }

    /// What the kernel says of `chain`; nothing when there is no such chain.
    pub fn chain(&self, chain: &Chain) -> io::Result<Option<ChainState>> {
        let answer = unless_absent(self.netfilter.exchange(&message::get_chain(chain)))?;
        Ok(answer
            .and_then(|answer| answer.messages().next().map(|first| message::read_chain(first.attributes()))))
    }

    /// The generation of the ruleset, for [`Batch::of_generation`].
    pub fn generation(&self) -> io::Result<u32> {
        let answer = self.netfilter.exchange(&message::get_generation())?;
        let number = answer.messages().next().and_then(|message| message.attributes().number(1));
        number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The element of `key`; nothing when there is none, or no such set.
    pub fn element(&self, set: &Set, key: &Datum) -> io::Result<Option<Element>> {
        let answer = unless_absent(self.netfilter.exchange(&message::get_element(set, key)))?;
        Ok(answer.and_then(|answer| read_all(&answer).into_iter().next()))
    }

    /// All elements; none when there is no such set. A dump, and so not for every ADD or DEL.
    pub fn elements(&self, set: &Set) -> io::Result<Vec<Element>> {
        let answer = unless_absent(self.netfilter.exchange(&message::get_elements(set)))?;
        Ok(answer.map(|answer| read_all(&answer)).unwrap_or_default())
    }

    /// All chains of all families: family and attributes.
    pub(super) fn chains(&self) -> io::Result<Vec<(u8, Vec<u8>)>> {
        let answer = self.netfilter.exchange(&message::get_chains())?;
        Ok(answer.messages().map(|message| (message.family(), message.attributes().0.to_vec())).collect())
    }

    /// Attributes of the last rule of a chain; none when it has none.
    pub(super) fn last_rule(&self, family: u8, table: &str, chain: &str) -> io::Result<Vec<u8>> {
        let answer = unless_absent(self.netfilter.exchange(&message::get_rules(family, table, chain)))?;
        let last = answer.as_ref().and_then(|answer| answer.messages().last());
        Ok(last.map(|message| message.attributes().0.to_vec()).unwrap_or_default())
    }
}

impl Netfilter {
    /// Connects to the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Sends and reads all answers; the first refusal among them is the error.
    pub(crate) fn exchange(&self, message: &[u8]) -> io::Result<Answers> {
        self.socket.send_to(message, &SocketAddr::new(0, 0), 0)?;
        let (mut refusal, mut answers) = (None, Vec::new());
        let mut answer = Vec::with_capacity(LONGEST);
        loop {
            answer.clear();
            match self.socket.recv_from(&mut answer, MsgFlags::MSG_TRUNC.bits()) {
                Ok((length, _)) if length > answer.len() => {
                    return Err(io::Error::other("the kernel's answer is longer than the buffer for it"));
                }
                Ok(_) => {
                    refusal = refusal.or_else(|| first_refusal(&answer));
                    answers.extend_from_slice(&answer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        refusal.map_or(Ok(Answers(answers)), Err)
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
    answer.messages().flat_map(|message| set::read_elements(message.attributes())).collect()
}

/// All that the kernel sent in answer to one message.
pub(crate) struct Answers(Vec<u8>);

impl Answers {
    /// The messages, without netlink's own: errors, acknowledgements, the end of a dump.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        const NLMSG_MIN_TYPE: u16 = 16;
        Messages(&self.0).filter(|message| message.kind >= NLMSG_MIN_TYPE)
    }
}

/// Walks the messages of one datagram for an `NLMSG_ERROR` whose code is not 0.
fn first_refusal(datagram: &[u8]) -> Option<io::Error> {
    Messages(datagram).find_map(|message| message.refusal())
}

/// The messages in what the kernel sent. Ends at the first that is cut.
struct Messages<'a>(&'a [u8]);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let ([l0, l1, l2, l3, t0, t1, ..], _) = self.0.split_first_chunk::<16>()?;
        let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        let body = self.0.get(16..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: u16::from_ne_bytes([*t0, *t1]), body })
    }
}

impl<'a> Message<'a> {
    /// `nfgen_family`.
    fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }

    /// What comes behind `struct nfgenmsg`.
    pub(crate) fn attributes(&self) -> Reader<'a> {
        Reader(self.body.get(4..).unwrap_or_default())
    }

    fn refusal(&self) -> Option<io::Error> {
        const NLMSG_ERROR: u16 = 2;
        let code =
            self.body.first_chunk::<4>().filter(|code| self.kind == NLMSG_ERROR && **code != [0; 4])?;
        Some(io::Error::from_raw_os_error(i32::from_ne_bytes(*code).checked_neg().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, code: i32) -> Vec<u8> {
        let mut bytes = 20u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(code.to_ne_bytes());
        bytes
    }

    #[test]
    fn the_first_refusal_among_acknowledgements_is_found() {
        let datagram = [answer(2, 0), answer(2, -17), answer(2, -2)].concat();
        assert_eq!(first_refusal(&datagram).unwrap().raw_os_error(), Some(17));
        assert!(first_refusal(&answer(2, 0)).is_none());
        assert!(first_refusal(&[0; 40]).is_none());
        assert!(first_refusal(&answer(2, -1)[..18]).is_none());
    }
}
