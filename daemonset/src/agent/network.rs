//! The links with other nodes: looks at what there is, and makes it what was planned. What one peer fails
//! with is in no other's way, and is tried again at the next look.

mod device;
mod difference;
mod overlay;
mod pods;
mod underlay;
mod wireguard;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tripod_cni::record::WayToPod;

use crate::claims::Peer;
use crate::config::NodeConfig;
use crate::kernel::{self, HostRoute, Kernel, KernelError, Permanent};
use crate::mesh::{self, Mesh, Reach, Underlay};
use crate::node_facts::NodeFacts;
use crate::report;
use crate::standing::{Difference, Standing};
use crate::wireguard_key::{PrivateKey, PublicKey};
use device::Devices;
use difference::Entries;

/// So long a way is believed that no event spoke of.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// This node's side of the mesh.
#[derive(Debug)]
pub(super) struct Network {
    kernel: Kernel,
    /// How peers' addresses were reached when that was last asked.
    reach: BTreeMap<IpAddr, Reach>,
    /// When that was asked.
    asked: Option<Instant>,
    has_broken_checksums: bool,
    unlinked: Standing<String>,
    failures: Standing<String>,
}

impl Network {
    /// Connects to the kernel.
    pub(super) fn open() -> Result<Self, KernelError> {
        let (unlinked, failures) = (Standing::default(), Standing::default());
        Ok(Self {
            kernel: Kernel::open()?,
            reach: BTreeMap::new(),
            asked: None,
            has_broken_checksums: kernel::release().is_some_and(|release| release < (5, 7)),
            unlinked,
            failures,
        })
    }

    /// Something changed on the way to peers: how they are reached is asked again.
    pub(super) fn forget_ways(&mut self) {
        self.asked = None;
    }

    /// Decides the links with `peers`, from how each is reached now.
    pub(super) async fn plan(
        &mut self,
        config: &NodeConfig,
        facts: &NodeFacts,
        peers: &[Peer],
    ) -> Result<Mesh, KernelError> {
        if !self.kernel.is_connected() {
            tracing::warn!("lost a netlink socket; opening another");
            self.kernel = Kernel::open()?;
        }
        let reach = self.ask(peers).await;
        let (links, addresses) = (self.kernel.links().await?, self.kernel.addresses().await?);
        let mtu = underlay::mtu(&facts.node_ips, &links, &addresses, &reach);
        let underlay = Underlay { reach, mtu, has_broken_checksums: self.has_broken_checksums };
        let mesh = mesh::plan(config, facts, peers, &underlay);
        let problems = mesh.problems.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
        tell(&mut self.unlinked, problems, "cannot link a node");
        Ok(mesh)
    }

    /// How each address of the peers is reached. An address that is reached in no way, since a link just went
    /// down, keeps the way it had: it has no other.
    async fn ask(&mut self, peers: &[Peer]) -> BTreeMap<IpAddr, Reach> {
        let is_old = self.asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN);
        let mut reach = BTreeMap::new();
        for address in peers.iter().flat_map(|peer| &peer.claim.addresses) {
            let found = match self.reach.get(address) {
                Some(known) if !is_old => *known,
                known => match self.kernel.reach(*address).await {
                    Reach::Unknown => known.copied().unwrap_or(Reach::Unknown),
                    found => found,
                },
            };
            reach.insert(*address, found);
        }
        if is_old {
            self.asked = Some(Instant::now());
        }
        self.reach.clone_from(&reach);
        reach
    }

    /// Restores the ways to our own pods, and makes the rest what `mesh` says: devices, then what lies on
    /// them, then the ways that lead to them; last goes what is not wanted any more. Returns this node's public
    /// key, if it encrypts by `key`. Where it cannot, the rest is done all the same.
    pub(super) async fn apply(
        &mut self,
        mesh: &Mesh,
        ways: &[WayToPod],
        key: Option<&PrivateKey>,
    ) -> Result<Encryption, KernelError> {
        let mut failed = Vec::new();
        let links = self.kernel.links().await?;
        let overlays = overlay::ensure(&self.kernel, &links, &mesh.overlays, &mut failed).await;
        let tunnel = wireguard::ensure(&self.kernel, &links, mesh, key, &mut failed).await;
        let wireguard = tunnel.as_ref().ok().and_then(Option::as_ref).map(|tunnel| tunnel.link.index);
        let there = There {
            routes: self.kernel.routes().await?,
            neighbours: self.kernel.permanent_neighbours().await?,
            wireguard: wireguard.or(wireguard::find(&links).map(|link| link.index)),
        };
        pods::restore(&self.kernel, ways, mesh, &there, &mut failed).await?;
        let entries = Entries::load(&self.kernel, &there.neighbours, &overlays).await?;
        let wanted = Entries::of(mesh, &overlays);
        entries.add(&self.kernel, &wanted, &mut failed).await;
        let devices = Devices { overlays, wireguard };
        difference::routes(&self.kernel, &there, mesh, &devices, &mut failed).await;
        difference::rules(&self.kernel, &mesh.rules, &mut failed).await?;
        entries.sweep(&self.kernel, &wanted, &mut failed).await;
        overlay::sweep(&self.kernel, &links, &mesh.overlays, &mut failed).await;
        failed.extend(wireguard::sweep(&self.kernel, &links, mesh).await.err());
        if let Ok(Some(tunnel)) = &tunnel {
            failed.extend(tunnel.sweep().await.err());
        }
        let failures = failed.iter().map(|error| report::chain(error)).collect();
        tell(&mut self.failures, failures, "a part of the links with other nodes failed; trying again");
        Ok(tunnel.map(|tunnel| tunnel?.public_key))
    }

    /// What could not be done at the last look, though the rest was.
    pub(super) fn failures(&self) -> &[String] {
        self.failures.found()
    }
}

/// This node's public key, if it encrypts, or why it cannot: no node that was to encrypt goes on without.
pub(super) type Encryption = Result<Option<PublicKey>, KernelError>;

/// What there is, before anything is changed.
#[derive(Debug)]
struct There {
    /// Routes of ours, to pods and to peers.
    routes: Vec<HostRoute>,
    /// Permanent neighbours.
    neighbours: Vec<Permanent>,
    /// Index of the WireGuard device, wanted or not.
    wireguard: Option<u32>,
}

/// Says what came and what went since the last look.
fn tell(standing: &mut Standing<String>, now: Vec<String>, what: &str) {
    let Difference { come, gone } = standing.replace(now);
    for error in come {
        tracing::error!(error, "{what}");
    }
    for error in gone {
        tracing::info!(error, "this is no more");
    }
}
