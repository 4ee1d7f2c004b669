//! What nf_tables tells of its changes (`NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`).

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tripod_cni::nft::passage;

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES`, the upper half of a message's type.
const NF_TABLES: u8 = 10;
/// `NFT_MSG_DELTABLE`, `…DELCHAIN`, `…DELRULE`, `…DELSET`, `…DELSETELEM` of `linux/netfilter/nf_tables.h`.
const REMOVALS: [u8; 5] = [2, 5, 8, 11, 14];
/// Of all of these messages the first attribute names the table.
const TABLE: u16 = 1;
const OURS: &[u8] = b"tripod\0";

/// A socket that hears what is removed from the ruleset.
pub(super) fn listen() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(GROUP)?;
    Ok(socket)
}

/// Waits until something of ours was removed. An error means that messages were lost.
pub(super) async fn removal(socket: &TokioSocket) -> io::Result<()> {
    loop {
        let (messages, _) = socket.recv_from_full().await?;
        if removes_ours(&messages) {
            return Ok(());
        }
    }
}

/// Whether one of these messages removes something of ours.
fn removes_ours(mut messages: &[u8]) -> bool {
    /// `struct nlmsghdr` and `struct nfgenmsg`.
    const HEADERS: usize = 16 + 4;
    while let Some([a, b, c, d, message, subsystem, ..]) = messages.first_chunk::<HEADERS>() {
        let length = u32::from_ne_bytes([*a, *b, *c, *d]) as usize;
        let Some(attributes) = messages.get(HEADERS..length) else { return false };
        if *subsystem == NF_TABLES && REMOVALS.contains(message) && is_ours(attributes) {
            return true;
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// Whether it is of our table, or a rule of ours in another's.
fn is_ours(attributes: &[u8]) -> bool {
    let mark = passage::MARK.as_bytes();
    table(attributes) == Some(OURS) || attributes.windows(mark.len()).any(|window| window == mark)
}

/// The table that attributes begin with.
fn table(attributes: &[u8]) -> Option<&[u8]> {
    let [a, b, c, d] = *attributes.first_chunk::<4>()?;
    let length = usize::from(u16::from_ne_bytes([a, b]));
    (u16::from_ne_bytes([c, d]) == TABLE).then(|| attributes.get(4..length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, table: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + 4 + 4 + table.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([kind, NF_TABLES]);
        bytes.extend([0; 14]);
        bytes.extend(u16::try_from(4 + table.len()).unwrap().to_ne_bytes());
        bytes.extend(TABLE.to_ne_bytes());
        bytes.extend(table);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn only_what_is_taken_from_us_counts() {
        assert!(removes_ours(&message(2, OURS)));
        assert!(removes_ours(&[message(0, b"nat\0"), message(8, OURS)].concat()));
        assert!(removes_ours(&message(8, b"filter\0....tripod: to 10.1.0.0/24\0")));
        assert!(!removes_ours(&message(2, b"kube-proxy\0")));
        assert!(!removes_ours(&message(0, OURS)));
    }

    #[test]
    fn torn_messages_end_the_reading() {
        let whole = message(2, OURS);
        for length in 0..whole.len() - 1 {
            assert!(!removes_ours(&whole[..length]));
        }
        let mut endless = whole;
        endless[..4].fill(0);
        assert!(!removes_ours(&endless));
    }
}
