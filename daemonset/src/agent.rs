//! `agent`: keeps this node's pod network in the state that its Node object and `node.yaml` decide.
//!
//! Whatever changes only marks the node dirty; one loop looks at everything, decides, and applies. It
//! removes nothing when it ends: pods keep their network, and the plugin goes on working without it.

mod identity;
mod key;
mod network;
mod node;
mod phase;
mod shown;
mod unread;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use node::{ApplyError, Paths};
pub use phase::Phase;

use crate::api::{self, Access, Peers, Posts};
use crate::claims::{self, Disputed, Peer, Refusal, Standpoint};
use crate::config::{self, ConfigError, NodeConfig};
use crate::desired;
use crate::health::{self, ListenError};
use crate::hostfs::{self, HostFsError};
use crate::kernel::{KernelError, Monitor};
use crate::metrics;
use crate::node_facts::{FactsError, NodeFacts, Seen};
use crate::observer::Observer;
use crate::report;
use crate::standing::{Difference, Standing};
use crate::state::Snapshot;
use crate::telemetry;
use crate::tripod_node::Claim;
use crate::watch::Watch;
use crate::wireguard_key::PublicKey;
use network::Network;
use node::Node;
use shown::Shown;
use unread::Unread;

/// What the agent is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node's Node object.
    pub node_name: String,
    /// Path of `node.yaml`.
    pub config: PathBuf,
    /// Where things are on this node.
    pub paths: Paths,
    /// How to reach API servers.
    pub access: Access,
    /// Where probes are answered.
    pub health: SocketAddr,
    /// Where metrics are read; none means the node's own address.
    pub metrics: Option<SocketAddr>,
    /// How often to look for drift that no event tells of.
    pub resync: Duration,
    /// How long an attachment may be without its link before it is released.
    pub orphan_grace: Duration,
    /// Where container `files` tells what became of the host's files.
    pub install_report: Option<PathBuf>,
    /// Key of the taint to remove from the Node once it is ready.
    pub startup_taint: Option<String>,
}

/// Why the agent ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// `node.yaml` is missing or cannot be read.
    #[error("cannot load the configuration")]
    LoadConfig(#[source] HostFsError),
    /// `node.yaml` cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The probes' address is taken.
    #[error("cannot answer probes")]
    Health(#[from] ListenError),
    /// The kernel gives no sockets.
    #[error("cannot look at the node's network")]
    Kernel(#[from] KernelError),
    /// A part of the agent ended.
    #[error("answering probes ended")]
    Probes(#[source] std::io::Error),
}

/// Runs until `stop` returns.
pub async fn run(settings: &Settings, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let config = load(&settings.config)?;
    let listener = health::open(settings.health).await?;
    let (phase, phases) = watch::channel(Phase::default());
    let (sight, seen) = watch::channel(None);
    let (servers, known_servers) = watch::channel(config.api_servers.clone());
    let (ours, told) = watch::channel(None);
    let (peers, known_peers) = watch::channel(Peers::Unknown(None));
    let (disputed, asked) = watch::channel(Disputed::new());
    let report = settings.install_report.as_deref();
    let observer = Arc::new(Observer::new(&settings.node_name, &settings.paths.state, report));
    let posts = Posts {
        seen: sight,
        phase: phases.clone(),
        ours: told,
        peers,
        disputed: asked,
        observer: observer.clone(),
    };
    // Dropping the set ends the tasks.
    let mut tasks = JoinSet::new();
    let access = settings.access.clone();
    tasks.spawn(api::follow(
        access,
        settings.node_name.clone(),
        known_servers,
        posts,
        settings.startup_taint.clone(),
    ));
    tasks.spawn(metrics::serve(settings.metrics, observer.address.subscribe(), observer.clone()));
    tasks.spawn(telemetry::listen(settings.paths.state.clone(), observer.clone()));
    let node = Node::new(settings.paths.clone(), settings.orphan_grace);
    let (network, monitor) = (Network::open()?, Monitor::open()?);
    let agent = Agent {
        settings,
        config,
        complaint: None,
        node,
        network,
        facts: None,
        key: None,
        is_key_known: false,
        refused: None,
        peers: None,
        is_judged: false,
        unread: Unread::default(),
        ignored: Standing::default(),
        shown: Shown::new(observer.clone()),
        phase,
        servers,
        ours,
        disputed,
    };
    let answers = health::probes(phases).merge(health::status_of(observer));
    tokio::select! {
        () = stop => Ok(()),
        () = agent.keep(seen, known_peers, monitor) => Ok(()),
        ended = health::run(listener, answers) => ended.map_err(AgentError::Probes),
    }
}

struct Agent<'a> {
    settings: &'a Settings,
    config: NodeConfig,
    /// What is wrong with `node.yaml` since it was good, so that it is told once.
    complaint: Option<String>,
    node: Node,
    facts: Option<NodeFacts>,
    /// By what others can encrypt what they say to us; none until there is a device for it.
    key: Option<PublicKey>,
    /// Whether it was seen that there is one, or none.
    is_key_known: bool,
    /// What is wrong with the Node object since it was good.
    refused: Option<FactsError>,
    network: Network,
    /// The nodes to be linked with; none until an API server or an earlier run has told.
    peers: Option<Vec<Peer>>,
    /// Whether `peers` are judged from all that is known by now.
    is_judged: bool,
    unread: Unread,
    /// The claims that are not used.
    ignored: Standing<String>,
    /// What is shown of each look.
    shown: Shown,
    phase: watch::Sender<Phase>,
    servers: watch::Sender<Vec<String>>,
    ours: watch::Sender<Option<Claim>>,
    /// Claims of which Node objects decide.
    disputed: watch::Sender<Disputed>,
}

/// Changes come in bursts; one look answers all of them.
const SETTLE: Duration = Duration::from_millis(20);
/// The longest pause between two looks that the length of a look calls for.
const LONGEST_REST: Duration = Duration::from_secs(5);

impl Agent<'_> {
    async fn keep(
        mut self,
        mut seen: watch::Receiver<Option<Seen>>,
        mut known: watch::Receiver<Peers>,
        mut monitor: Monitor,
    ) {
        // A restart must not wait for an API server: the state it left is the state it restores.
        if let Some((facts, peers)) = self.node.last_known(&self.settings.node_name) {
            self.peers = peers;
            self.learn(facts);
        }
        loop {
            // Armed before the look, so that no change falls between the two.
            let mut watch = Watch::open()
                .inspect_err(|error| tracing::warn!(error = report::chain(error), "cannot watch for drift"))
                .ok();
            add(&mut watch, self.settings.config.parent());
            // Its folder is made by who writes it.
            add(
                &mut watch,
                self.settings.install_report.iter().flat_map(|path| path.ancestors().skip(1).take(2)),
            );
            self.reload();
            self.shown.begin(&self.config);
            let news = seen.borrow_and_update().clone();
            self.hear(news);
            self.is_judged &= !known.has_changed().unwrap_or(false);
            let peers = known.borrow_and_update().clone();
            self.meet(&peers);
            let begin = Instant::now();
            self.apply(&mut watch, &peers).await;
            let spent = begin.elapsed();
            self.show(spent, monitor.overruns());
            tokio::select! {
                () = changed(watch, self.settings.resync) => {}
                // The senders live as long as the API task, which does not end.
                Ok(()) = seen.changed() => {}
                Ok(()) = known.changed() => self.is_judged = false,
                () = self.unread.are_late() => self.is_judged = false,
                changes = monitor.changed() => if changes.underlay { self.network.forget_ways() },
            }
            // However often the kernel has news, a tenth of a processor is enough.
            tokio::time::sleep(SETTLE.max(spent * 9).min(LONGEST_REST)).await;
        }
    }

    /// Judges what other nodes say, once for each thing that is new. As long as nothing is heard, the last
    /// known ones stay.
    fn meet(&mut self, peers: &Peers) {
        let (Peers::Known(known), Some(facts), false) = (peers, &self.facts, self.is_judged) else { return };
        let us = Standpoint {
            name: &self.settings.node_name,
            config: &self.config,
            facts,
            key: self.key,
            services: &known.services,
            peers: self.peers.as_deref().unwrap_or_default(),
        };
        let mut judged = claims::judge(&known.claims, &known.verdicts, us);
        self.unread.note(judged.unread, tokio::time::Instant::now());
        // A claim that is merely new is no news to anybody.
        let is_fresh = self.unread.is_fresh();
        judged.refused.retain(|(_, refusal)| !is_fresh || *refusal != Refusal::Unread);
        self.shown.refused.clone_from(&judged.refused);
        let ignored = judged.refused.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
        let Difference { come, gone } = self.ignored.replace(ignored);
        for claim in come {
            tracing::warn!(claim, "ignored what a TripodNode says");
        }
        for claim in gone {
            tracing::info!(claim, "this TripodNode is not ignored any more");
        }
        self.disputed.send_if_modified(|disputed| {
            let is_new = *disputed != judged.disputed;
            *disputed = judged.disputed;
            is_new
        });
        // Who never knew anybody is not ready with nobody.
        if self.peers.is_some() || !is_fresh {
            self.peers = Some(judged.peers);
        }
        self.is_judged = true;
    }

    /// Takes over a changed `node.yaml`. One that cannot be used is told, and the last good one stays.
    fn reload(&mut self) {
        let loaded = load(&self.settings.config);
        let complaint = loaded.as_ref().err().map(|error| report::chain(error));
        match loaded {
            Ok(config) if config == self.config => {}
            Ok(config) => {
                self.shown.generation += 1;
                tracing::info!(path = %self.settings.config.display(), "took over the changed configuration");
                self.servers.send_if_modified(|servers| {
                    let is_new = *servers != config.api_servers;
                    servers.clone_from(&config.api_servers);
                    is_new
                });
                self.config = config;
                self.is_judged = false;
                self.facts.iter().for_each(|facts| node::tell_unlisted(&self.config, facts));
            }
            Err(_) if complaint == self.complaint => {}
            Err(_) => tracing::error!(error = complaint, "keeping the last good configuration"),
        }
        self.complaint = complaint;
    }

    async fn apply(&mut self, watch: &mut Option<Watch>, known: &Peers) {
        let phase = match (&self.facts, &self.refused) {
            (Some(facts), _) if !facts.pod_cidrs.is_empty() => {
                let facts = facts.clone();
                match (self.peers.clone(), known) {
                    (Some(peers), _) => self.bring(watch, &facts, peers).await,
                    (None, Peers::Unknown(Some(why))) => Phase::WaitingForPeers(format!(": {why}")),
                    (None, _) => Phase::WaitingForPeers(self.unread.why()),
                }
            }
            (_, Some(error)) => Phase::WaitingForUsableNode(report::chain(error)),
            (Some(_), None) => Phase::WaitingForPodCidrs,
            (None, None) => Phase::Absent,
        };
        self.enter(phase);
    }

    async fn bring(&mut self, watch: &mut Option<Watch>, facts: &NodeFacts, peers: Vec<Peer>) -> Phase {
        self.node.make_folders();
        add(watch, self.node.folders());
        let brought = self.try_bring(facts, peers).await;
        self.tell_ours();
        match brought {
            Ok(()) => Phase::Ready,
            Err(error) => {
                self.shown.failed(&error);
                Phase::Failing(report::chain(&error))
            }
        }
    }

    async fn try_bring(&mut self, facts: &NodeFacts, peers: Vec<Peer>) -> Result<(), ApplyError> {
        let mesh = self.network.plan(&self.config, facts, &peers).await?;
        self.shown.planned(&mesh, &peers);
        let desired = desired::decide(&self.config, facts, &mesh, &self.settings.paths.state);
        let snapshot = Snapshot::new(&self.settings.node_name, facts.clone(), peers);
        let ways = self.node.prepare(&desired, &snapshot)?;
        let key = mesh.wireguard.is_some().then(|| self.node.key()).transpose()?;
        let encryption = self.network.apply(&mesh, &ways, key).await?;
        self.shown.applied(self.network.failures());
        self.take_key(encryption.as_ref().ok().copied().flatten());
        encryption.map_err(ApplyError::Tunnel)?;
        self.node.announce(&desired, &snapshot)
    }

    fn show(&self, spent: Duration, overruns: u64) {
        let phase = self.phase.borrow().clone();
        self.shown.end(&phase, self.facts.as_ref(), &self.node, (spent, overruns));
    }

    fn enter(&self, phase: Phase) {
        let is_new = self.phase.send_if_modified(|current| {
            let is_new = *current != phase;
            current.clone_from(&phase);
            is_new
        });
        match &phase {
            _ if !is_new => {}
            Phase::Failing(error) => {
                tracing::error!(error, "cannot bring the node to its state; trying again")
            }
            phase => tracing::info!(%phase, "entered a phase"),
        }
    }
}

/// Adds folders to a watch. One that cannot be watched is looked at now and then all the same.
fn add<'a>(watch: &mut Option<Watch>, folders: impl IntoIterator<Item = &'a Path>) {
    let Some(watch) = watch else { return };
    for folder in folders {
        if let Err(error) = watch.add(folder) {
            tracing::debug!(folder = %folder.display(), error = report::chain(&error), "not watched");
        }
    }
}

async fn changed(watch: Option<Watch>, resync: Duration) {
    match watch {
        Some(mut watch) => watch.changed(resync).await,
        None => tokio::time::sleep(resync).await,
    }
}

fn load(path: &Path) -> Result<NodeConfig, AgentError> {
    let bytes = hostfs::read(path, config::LONGEST).map_err(AgentError::LoadConfig)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(config::parse(&path.display().to_string(), &text)?)
}
