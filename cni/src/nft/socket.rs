//! The netfilter socket of one network namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::attribute::Reader;
use super::message::{self, Batch, Chain, ChainState};
use super::set::{self, Datum, Element, Set};
use crate::{error, failpoint};

/// `NETLINK_NETFILTER`.
const PROTOCOL: isize = 12;

/// A connection to nf_tables. The kernel works while a message is being sent, so every answer is there
/// when sending returns; nothing here waits.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
}

impl Nft {
    /// Connects to the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Makes all changes of `batch`, or none.
    pub fn commit(&self, batch: Batch) -> io::Result<()> {
        failpoint::step("commit to nf_tables")?;
        self.exchange(&batch.render()).map(drop)
    }

    /// What the kernel says of `chain`; nothing when there is no such chain.
    pub fn chain(&self, chain: &Chain) -> io::Result<Option<ChainState>> {
        let answer = unless_absent(self.exchange(&message::get_chain(chain)))?;
        Ok(answer.and_then(|answer| Messages(&answer).next().map(|m| message::read_chain(m.attributes()))))
    }

    /// The generation of the ruleset, for [`Batch::of_generation`].
    pub fn generation(&self) -> io::Result<u32> {
        let answer = self.exchange(&message::get_generation())?;
        let number = Messages(&answer).next().and_then(|message| message.attributes().number(1));
        number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The element of `key`; nothing when there is none, or no such set.
    pub fn element(&self, set: &Set, key: &Datum) -> io::Result<Option<Element>> {
        let answer = unless_absent(self.exchange(&message::get_element(set, key)))?;
        Ok(answer.and_then(|answer| read_all(&answer).into_iter().next()))
    }

    /// All elements; none when there is no such set. A dump, and so not for every ADD or DEL.
    pub fn elements(&self, set: &Set) -> io::Result<Vec<Element>> {
        let answer = unless_absent(self.exchange(&message::get_elements(set)))?;
        Ok(answer.map(|answer| read_all(&answer)).unwrap_or_default())
    }

    /// Sends and reads all answers, of which it returns the bytes; the first refusal among them is the
    /// error.
    fn exchange(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.socket.send_to(message, &SocketAddr::new(0, 0), 0)?;
        let (mut refusal, mut answers) = (None, Vec::new());
        loop {
            match self.socket.recv_from_full() {
                Ok((answer, _)) => {
                    refusal = refusal.or_else(|| first_refusal(&answer));
                    answers.extend(answer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        refusal.map_or(Ok(answers), Err)
    }
}

/// That a table, chain, set or element is not there is an answer.
fn unless_absent(answer: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error::is(&error, Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_all(answer: &[u8]) -> Vec<Element> {
    Messages(answer)
        .filter(Message::is_ours)
        .flat_map(|message| set::read_elements(message.attributes()))
        .collect()
}

/// Walks the messages of one datagram for an `NLMSG_ERROR` whose code is not 0.
fn first_refusal(datagram: &[u8]) -> Option<io::Error> {
    Messages(datagram).find_map(|message| message.refusal())
}

/// The messages in what the kernel sent. Ends at the first that is cut.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

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
    /// Below 16 are netlink's own: errors, acknowledgements, the end of a dump.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind >= 16
    }

    /// `nfgen_family`.
    pub(crate) fn family(&self) -> u8 {
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
