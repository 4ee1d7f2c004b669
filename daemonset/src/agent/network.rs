//! The links with other nodes: looks at what there is, and makes it what was planned. What one peer fails
//! with is in no other's way, and is tried again at the next look.

mod difference;
mod overlay;
mod pods;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tripod_cni::record::WayToPod;

use crate::claims::Peer;
use crate::config::NodeConfig;
use crate::kernel::{HostRoute, Kernel, KernelError, Link, Permanent};
use crate::mesh::{self, Family, Mesh, Reach, Underlay};
use crate::node_facts::NodeFacts;
use crate::report;
use crate::standing::{Difference, Standing};
use difference::Entries;

/// So long a way is believed that no event spoke of.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// This node's side of the mesh.
#[derive(Debug)]
pub(super) struct Network {
    kernel: Kernel,
    /// How peers' addresses are reached, as long as nothing said that it changed.
    reach: BTreeMap<IpAddr, Reach>,
    /// Since when that is remembered.
    asked: Instant,
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
            asked: Instant::now(),
            unlinked,
            failures,
        })
    }

    /// Forgets how peers are reached: something changed on the way to them.
    pub(super) fn forget_ways(&mut self) {
        self.reach.clear();
        self.asked = Instant::now();
    }

    /// Decides the links with `peers`, from how each is reached now.
    pub(super) async fn plan(
        &mut self,
        config: &NodeConfig,
        facts: &NodeFacts,
        peers: &[Peer],
    ) -> Result<Mesh, KernelError> {
        let mtu = self.underlay_mtu(facts).await?;
        if self.asked.elapsed() > ASK_AGAIN {
            self.forget_ways();
        }
        let mut reach = BTreeMap::new();
        for address in peers.iter().flat_map(|peer| &peer.claim.addresses) {
            let known = self.reach.get(address).copied();
            let found = match known {
                Some(known) => known,
                None => self.kernel.reach(*address).await,
            };
            reach.insert(*address, found);
        }
        self.reach.clone_from(&reach);
        let mesh = mesh::plan(config, facts, peers, &Underlay { reach, mtu });
        let problems = mesh.problems.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
        tell(&mut self.unlinked, problems, "cannot link a node");
        Ok(mesh)
    }

    /// MTU of the links that carry our addresses.
    async fn underlay_mtu(&self, facts: &NodeFacts) -> Result<BTreeMap<Family, u32>, KernelError> {
        let (links, addresses) = (self.kernel.links().await?, self.kernel.addresses().await?);
        let is_ours = |link: &Link| Family::ALL.iter().any(|family| family.overlay() == link.name);
        let carries = |link: &Link, ip: IpAddr| {
            let on_it =
                |(index, address): &(u32, _)| *index == link.index && ipnetwork::IpNetwork::ip(address) == ip;
            addresses.iter().any(on_it) && !is_ours(link)
        };
        let mtu = |ip: &IpAddr| {
            let link = links.iter().find(|link| carries(link, *ip))?;
            Some((Family::of(*ip), link.mtu))
        };
        Ok(facts.node_ips.iter().filter_map(mtu).collect())
    }

    /// Restores the ways to our own pods, and makes the rest what `mesh` says: devices, then what lies on them, then the ways that lead to
    /// them; last goes what is not wanted any more.
    pub(super) async fn apply(&mut self, mesh: &Mesh, ways: &[WayToPod]) -> Result<(), KernelError> {
        let mut failed = Vec::new();
        let overlays = overlay::ensure(&self.kernel, &mesh.overlays, &mut failed).await?;
        let there = There {
            routes: self.kernel.routes().await?,
            neighbours: self.kernel.permanent_neighbours().await?,
        };
        pods::restore(&self.kernel, ways, mesh, &there, &mut failed).await?;
        let entries = Entries::load(&self.kernel, &there.neighbours, &overlays).await?;
        let wanted = Entries::of(mesh, &overlays);
        entries.add(&self.kernel, &wanted, &mut failed).await;
        difference::routes(&self.kernel, &there.routes, mesh, &overlays, &mut failed).await;
        difference::rules(&self.kernel, &mesh.rules, &mut failed).await?;
        entries.sweep(&self.kernel, &wanted, &mut failed).await;
        overlay::sweep(&self.kernel, &mesh.overlays, &mut failed).await?;
        let failures = failed.iter().map(|error| report::chain(error)).collect();
        tell(&mut self.failures, failures, "a part of the links with other nodes failed; trying again");
        Ok(())
    }
}

/// What there is, before anything is changed.
#[derive(Debug)]
struct There {
    /// Routes of ours, to pods and to peers.
    routes: Vec<HostRoute>,
    /// Permanent neighbours.
    neighbours: Vec<Permanent>,
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
