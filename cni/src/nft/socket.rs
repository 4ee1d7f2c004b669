//! The netfilter socket of one network namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::message::{self, Batch, Chain};
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

    /// How many rules `chain` has; none when there is no such chain.
    pub fn count_rules(&self, chain: &Chain) -> io::Result<Option<u32>> {
        match self.exchange(&message::get_chain(chain)) {
            Ok(answer) => Ok(Some(message::read_use(&answer).unwrap_or(0))),
            Err(error) if error::is(&error, Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
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

/// Walks the messages of one datagram for an `NLMSG_ERROR` whose code is not 0.
fn first_refusal(mut datagram: &[u8]) -> Option<io::Error> {
    const NLMSG_ERROR: u16 = 2;
    while let Some((header, rest)) = datagram.split_first_chunk::<16>() {
        let [l0, l1, l2, l3, t0, t1, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if u16::from_ne_bytes([t0, t1]) == NLMSG_ERROR
            && let Some((code, _)) = rest.split_first_chunk::<4>()
            && *code != [0; 4]
        {
            return Some(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
        }
        datagram = datagram.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    None
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
