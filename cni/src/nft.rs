//! nf_tables over netlink: as much of it as Tripod's own table needs.
//!
//! The kernel documents this interface only in `linux/netfilter/nf_tables.h`; numbers here carry that
//! header's names, and tests read every rule back with `nft -j`.

pub mod base;
pub mod bridge;
mod comment;
mod expr;
pub mod foreign;
pub mod masquerade;
mod message;
pub mod overlay;
pub mod passage;
pub(crate) mod ports;
mod set;
mod socket;

use std::io;

use nix::errno::Errno;

use crate::error;

pub use expr::{Expr, Family, Verdict};
pub use message::{Batch, Chain, ChainState, Hook, Layer, Rule, Table};
pub(crate) use message::{NFGENMSG, question};
pub use set::{Datum, Element, Field, Set};
pub use socket::Nft;

/// How often a change is tried anew because somebody else changed the ruleset meanwhile. One of those
/// who try at the same time always succeeds.
const ATTEMPTS: u32 = 200;

/// Whether the kernel answered that it was built without something.
pub(crate) fn is_lacking(error: &io::Error) -> bool {
    [Errno::EOPNOTSUPP, Errno::ENOENT, Errno::EPROTONOSUPPORT, Errno::EAFNOSUPPORT]
        .iter()
        .any(|errno| error::is(error, *errno))
}
