//! What keeps pods out of the overlay between nodes: VXLAN takes a packet from whoever reaches its port, so a
//! pod that does could send as any pod of any node.

use std::borrow::Cow;
use std::io;

use super::base::{TABLE, from_pods, rule};
use super::expr::{Expr, Verdict};
use super::message::{Batch, Chain, Hook, Rule};
use super::socket::Nft;

/// Behind what leads packets elsewhere (`dstnat`, -100): a Service may lead to this port as well.
const CHAIN: Chain = Chain {
    table: TABLE,
    name: Cow::Borrowed("overlay"),
    kind: "filter",
    hook: Hook::Prerouting,
    priority: -90,
};

/// Drops what pods send to UDP port `port` of anybody; without one, nothing.
pub fn apply(nft: &Nft, port: Option<u16>) -> io::Result<()> {
    let mut batch = Batch::new();
    batch.add_table(TABLE);
    batch.add_chain(&CHAIN);
    batch.flush(&CHAIN);
    batch.remove_chain(&CHAIN);
    if let Some(port) = port {
        batch.add_chain_with(&CHAIN, &comment(port));
        batch.add_rule(&closed(port));
    }
    nft.commit(batch)
}

/// Whether the chain is as [`apply`] makes it.
pub fn is_whole(nft: &Nft, port: Option<u16>) -> io::Result<bool> {
    let found = nft.chain(&CHAIN)?;
    Ok(match (found, port) {
        (None, None) => true,
        (Some(found), Some(port)) => found.rules == 1 && found.comment == comment(port),
        _ => false,
    })
}

fn comment(port: u16) -> String {
    format!("UDP port {port}")
}

fn closed(port: u16) -> Rule {
    const IPPROTO_UDP: u8 = 17;
    let destination_port = Expr::Transport { offset: 2, length: 2 };
    let matched = vec![
        Expr::Protocol,
        Expr::Equal(vec![IPPROTO_UDP]),
        destination_port,
        Expr::Equal(port.to_be_bytes().to_vec()),
    ];
    rule(&CHAIN, [from_pods(), matched, vec![Expr::Verdict(Verdict::Drop)]])
}
