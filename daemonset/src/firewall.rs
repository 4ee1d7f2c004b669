//! The node's base table in nf_tables.

use std::io;

use tripod_cni::nft::Nft;
use tripod_cni::nft::base;
use tripod_cni::nft::masquerade::Masquerade;

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} of nftables table inet tripod")]
pub struct FirewallError {
    act: &'static str,
    #[source]
    source: io::Error,
}

/// Makes the guard chain what it should be, and the masquerade chain what `masquerade` says.
pub fn apply(masquerade: &Masquerade) -> Result<(), FirewallError> {
    base::apply(&open()?, Some(masquerade)).map_err(refused("set the chains"))
}

/// Whether both chains have the rules they should.
pub fn is_whole(masquerade: &Masquerade) -> Result<bool, FirewallError> {
    base::is_whole(&open()?, Some(masquerade)).map_err(refused("look at the chains"))
}

fn open() -> Result<Nft, FirewallError> {
    Nft::open().map_err(refused("open a socket for the chains"))
}

fn refused(act: &'static str) -> impl Fn(io::Error) -> FirewallError {
    move |source| FirewallError { act, source }
}
