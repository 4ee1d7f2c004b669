//! The node's base table in nf_tables.

use std::io;

use tripod_cni::nft::Nft;
use tripod_cni::nft::base::{self, Masquerade};

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} of nftables table inet tripod")]
pub struct FirewallError {
    act: &'static str,
    #[source]
    source: io::Error,
}

/// Makes the guard chain unless it is there, and the masquerade chain what `masquerade` says.
pub fn apply(masquerade: &Masquerade) -> Result<(), FirewallError> {
    let nft = open()?;
    base::ensure_guard(&nft).map_err(refused("make the guard chain"))?;
    base::apply_masquerade(&nft, masquerade).map_err(refused("set the masquerade chain"))
}

/// Whether both chains are there.
pub fn is_whole() -> Result<bool, FirewallError> {
    base::is_whole(&open()?).map_err(refused("look for the chains"))
}

fn open() -> Result<Nft, FirewallError> {
    Nft::open().map_err(refused("open a socket for the chains"))
}

fn refused(act: &'static str) -> impl Fn(io::Error) -> FirewallError {
    move |source| FirewallError { act, source }
}
