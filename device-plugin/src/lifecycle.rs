//! The long-running verb: offers what the config says and the node has, until told to stop.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::resource_name::ResourceName;
use crate::config::watch::ConfigWatch;
use crate::config::{Config, Resource};
use crate::device::Device;
use crate::discovery::{self, Scan};
use crate::error::{RunError, chain};
use crate::folder_watch::{FolderWatch, Interest};
use crate::hostroot::HostRoot;
use crate::inventory::Fitted;
use crate::offer::{Offer, take_stock};
use crate::socket::PluginDir;
use crate::{kubelet_watch, readiness};

/// How often the node is scanned when no event says so.
const RESCAN: Duration = Duration::from_secs(30);
/// A scan names the folders to watch; watching new ones asks for another scan, so often at most.
const SCANS_IN_A_ROW: usize = 4;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The config file.
    pub config: PathBuf,
    /// The host's `/`.
    pub host_root: HostRoot,
    /// The kubelet's device plugin directory.
    pub plugin_dir: PathBuf,
    /// Where probes are answered, if anywhere.
    pub health: Option<SocketAddr>,
}

/// Offers devices until `stop` becomes true, then removes its sockets.
pub async fn run(places: Places, mut stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let dir = PluginDir::new(&places.plugin_dir)?;
    let (mut config_watch, config) = ConfigWatch::open(&places.config)?;
    let (ready, readiness) = watch::channel(false);
    if let Some(address) = places.health {
        let address = readiness::listen(address, readiness).await?;
        tracing::info!(%address, "answering probes");
    }
    sweep(&dir);
    let mut node = Node::new(places.host_root, dir);
    node.start(config).await?;
    ready.send_replace(true);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            config = config_watch.next() => node.reload(config).await,
            () = node.folders.settled() => node.rescan().await,
        }
    }
    ready.send_replace(false);
    node.stop().await;
    Ok(())
}

fn sweep(dir: &PluginDir) {
    match dir.sweep() {
        Ok(removed) => {
            for socket in removed {
                tracing::info!(socket, "removed a socket of an earlier run");
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for sockets of an earlier run"),
    }
}

/// What this node offers.
#[derive(Debug)]
struct Node {
    root: HostRoot,
    dir: PluginDir,
    directory: watch::Receiver<u64>,
    folders: FolderWatch,
    config: Config,
    offers: BTreeMap<ResourceName, Offer>,
    scans: u64,
}

/// The outcome of a scan for one resource.
#[derive(Debug)]
struct Stock {
    resource: Resource,
    fitted: Fitted,
    faults: BTreeSet<String>,
}

impl Node {
    fn new(root: HostRoot, dir: PluginDir) -> Node {
        let directory = kubelet_watch::watch(dir.clone());
        let folders = FolderWatch::open(Interest::Names, RESCAN);
        Node { root, dir, directory, folders, config: Config::default(), offers: BTreeMap::new(), scans: 0 }
    }

    /// Puts the first config into force. Lists too long for the kubelet are cut, as at a rescan: a node
    /// that gained devices must come through a restart.
    async fn start(&mut self, config: Config) -> Result<(), RunError> {
        let stocks = self.scan(&config).await?;
        self.enforce(config, stocks).await;
        Ok(())
    }

    /// Puts a changed config into force, whole or not at all. While somebody is there to read it, asking
    /// for more than the kubelet can be told of is an error of the resources that were changed.
    async fn change(&mut self, config: Config) -> Result<(), RunError> {
        let stocks = self.scan(&config).await?;
        let is_old = |stock: &Stock| self.config.resources.contains(&stock.resource);
        if let Some(stock) = stocks.iter().find(|stock| stock.fitted.left_out > 0 && !is_old(stock)) {
            let (resource, left_out) = (stock.resource.name.clone(), stock.fitted.left_out);
            return Err(RunError::TooManyDevices { resource, left_out });
        }
        self.enforce(config, stocks).await;
        Ok(())
    }

    /// Offers what `config` says. Resources that it does not change stay registered.
    async fn enforce(&mut self, config: Config, stocks: Vec<Stock>) {
        let wanted: HashSet<_> = config.resources.iter().map(|r| r.name.clone()).collect();
        let dropped: Vec<_> = self.offers.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in dropped {
            if let Some(offer) = self.offers.remove(&name) {
                tracing::info!(resource = %name, "no longer offering");
                offer.stop().await;
            }
        }
        self.config = config;
        self.publish(stocks);
    }

    async fn reload(&mut self, config: Config) {
        match self.change(config).await {
            Ok(()) => tracing::info!("the changed config is in force"),
            Err(error) => tracing::error!("the running config stays: {}", chain(&error)),
        }
    }

    async fn rescan(&mut self) {
        match self.scan(&self.config.clone()).await {
            Ok(stocks) => self.publish(stocks),
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    /// Looks for the devices of `config`, with every folder watched in which one may appear.
    async fn scan(&mut self, config: &Config) -> Result<Vec<Stock>, RunError> {
        let mut scans = Vec::new();
        for _ in 0..SCANS_IN_A_ROW {
            scans = self.look(config).await?;
            let folders = scans.iter().flat_map(|scan| &scan.folders);
            if !self.folders.follow(&folders.map(|folder| self.root.locate(folder)).collect()) {
                break;
            }
        }
        self.scans += 1;
        let stock = |(resource, mut scan): (&Resource, Scan)| {
            let previous = self.devices(&resource.name);
            let fitted = take_stock(resource, &previous, &mut scan, self.scans);
            Stock { resource: resource.clone(), fitted, faults: scan.faults }
        };
        Ok(config.resources.iter().zip(scans).map(stock).collect())
    }

    async fn look(&self, config: &Config) -> Result<Vec<Scan>, RunError> {
        let (resources, root) = (config.resources.clone(), self.root.clone());
        let known: HashMap<_, _> = resources
            .iter()
            .map(|resource| {
                let keys = self.devices(&resource.name).into_iter().map(|device| device.found.key);
                (resource.name.clone(), keys.collect())
            })
            .collect();
        tokio::task::spawn_blocking(move || discovery::scan(&resources, &known, &root))
            .await
            .map_err(|error| RunError::System { act: "scan the node", source: error.into() })
    }

    fn devices(&self, resource: &ResourceName) -> Vec<Device> {
        self.offers.get(resource).map(Offer::devices).unwrap_or_default()
    }

    fn publish(&mut self, stocks: Vec<Stock>) {
        for Stock { resource, fitted, faults } in stocks {
            let name = resource.name.clone();
            let offer = match self.offers.remove(&name) {
                Some(mut offer) => {
                    offer.update(resource, fitted.devices);
                    offer
                }
                None => Offer::start(resource, fitted.devices, self.dir.clone(), self.directory.clone()),
            };
            self.offers.entry(name).or_insert(offer).report(faults, fitted.left_out);
        }
    }

    /// Ends all offers at the same time: each may have calls to finish.
    async fn stop(self) {
        let stopping: Vec<_> = self.offers.into_values().map(|offer| tokio::spawn(offer.stop())).collect();
        for offer in stopping {
            if let Err(error) = offer.await {
                tracing::error!(%error, "an offer ended badly");
            }
        }
    }
}
