//! nf_tables over netlink: as much of it as Tripod's own table needs.
//!
//! The kernel documents this interface only in `linux/netfilter/nf_tables.h`; numbers here carry that
//! header's names, and tests read every rule back with `nft -j`.

mod attribute;
pub mod base;
mod expr;
mod message;
mod set;
mod socket;

pub use expr::{Expr, Family, Verdict};
pub use message::{Batch, Chain, ChainState, Hook, Rule, Table};
pub use set::{Datum, Element, Field, Set};
pub use socket::Nft;
