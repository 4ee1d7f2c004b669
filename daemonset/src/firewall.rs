//! The node's tables in nf_tables.

use std::io;

use tripod_cni::nft::masquerade::Masquerade;
use tripod_cni::nft::{Nft, base, overlay};

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} of nftables table inet tripod")]
pub struct FirewallError {
    act: &'static str,
    #[source]
    source: io::Error,
}

/// What is the agent's in table `inet tripod`, beside the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Which packets leave with the node's address.
    pub masquerade: Masquerade,
    /// UDP port of overlays, which is closed to pods; none where no node has one.
    pub overlay_port: Option<u16>,
}

impl Firewall {
    /// Makes the guard chain what it should be, and the agent's chains what this says.
    pub fn apply(&self) -> Result<(), FirewallError> {
        let nft = open()?;
        let applied = base::apply(&nft, Some(&self.masquerade));
        applied.and_then(|()| overlay::apply(&nft, self.overlay_port)).map_err(refused("set the chains"))
    }

    /// Whether all of these chains have the rules they should.
    pub fn is_whole(&self) -> Result<bool, FirewallError> {
        let nft = open()?;
        let look = || {
            Ok(base::is_whole(&nft, Some(&self.masquerade))? && overlay::is_whole(&nft, self.overlay_port)?)
        };
        look().map_err(refused("look at the chains"))
    }
}

fn open() -> Result<Nft, FirewallError> {
    Nft::open().map_err(refused("open a socket for the chains"))
}

fn refused(act: &'static str) -> impl Fn(io::Error) -> FirewallError {
    move |source| FirewallError { act, source }
}
