//! What one node offers, and how that follows what is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Places;
use crate::board::Board;
use crate::cdi;
use crate::cdi::leftover::{Holders, Leftovers};
use crate::config::Config;
use crate::config::resource_name::ResourceName;
use crate::discovery::{self, Fault, Host, Lot, Survey};
use crate::error::{RunError, chain};
use crate::folder_watch::{FolderWatch, Interest};
use crate::inventory::Moment;
use crate::kubelet_watch;
use crate::labels::{self, FeatureFile};
use crate::mps::Mps;
use crate::offer::Offer;
use crate::orphans;
use crate::podresources::Usage;
use crate::registration::Means;
use crate::reset::Resets;
use crate::socket::PluginDir;
use crate::stock::Stock;
use crate::telemetry::Agent;
use crate::vanished::Vanished;

/// How often the node is scanned when no event says so.
const RESCAN: Duration = Duration::from_secs(30);
/// A scan names the folders to watch; watching new ones asks for another scan, so often at most.
const SCANS_IN_A_ROW: usize = 4;

/// What this node offers.
#[derive(Debug)]
pub(super) struct Node {
    host: Arc<Host>,
    cdi: cdi::Folder,
    agent: Agent,
    mps: Mps,
    labels: FeatureFile,
    pub(super) means: Means,
    usage: watch::Receiver<Option<Usage>>,
    vanished: Vanished,
    podresources: PathBuf,
    leftovers: Leftovers,
    pub(super) folders: FolderWatch,
    config: Config,
    /// A config that asked for too much when it was read.
    refused: Option<Config>,
    offers: BTreeMap<ResourceName, Offer>,
    faults: BTreeSet<Fault>,
    scans: u64,
}

impl Node {
    pub(super) fn new(
        host: Host,
        places: &Places,
        dir: PluginDir,
        board: Board,
        usage: watch::Receiver<Option<Usage>>,
    ) -> Node {
        let directory = kubelet_watch::watch(dir.clone());
        let folders = FolderWatch::open(Interest::Names, RESCAN);
        let resets = Resets::new(board.clone());
        let news = host.nvidia.news();
        let mps = Mps::new(&places.host_root, &places.nvidia_driver_root, &places.mps_dir, news);
        Node {
            host: Arc::new(host),
            cdi: cdi::Folder::new(places.cdi_dir.clone()),
            agent: Agent::at(&places.agent_socket),
            mps,
            labels: FeatureFile::new(places.nfd_dir.clone()),
            means: Means { way: places.registration, dir, directory, board, resets },
            usage,
            vanished: Vanished::default(),
            podresources: places.inquiry.socket.clone(),
            leftovers: Leftovers::default(),
            folders,
            config: Config::default(),
            refused: None,
            offers: BTreeMap::new(),
            faults: BTreeSet::new(),
            scans: 0,
        }
    }

    /// Puts the first config into force. Lists too long for the kubelet are cut, as at a rescan: a node
    /// that gained devices must come through a restart.
    pub(super) async fn start(&mut self, config: Config) -> Result<(), RunError> {
        let stocks = self.scan(&config).await?;
        self.enforce(config, stocks).await;
        Ok(())
    }

    /// Puts a changed config into force, whole or not at all. While somebody is there to read it, asking
    /// for more than the kubelet can be told of is an error of the rules that were changed.
    async fn change(&mut self, config: Config) -> Result<(), RunError> {
        let stocks = self.scan(&config).await?;
        let is_old = |stock: &Stock| self.config.rules.contains(&stock.rule);
        if let Some(stock) = stocks.iter().find(|stock| stock.left_out > 0 && !is_old(stock)) {
            let (resource, left_out) = (stock.name.clone(), stock.left_out);
            return Err(RunError::TooManyDevices { resource, left_out });
        }
        self.enforce(config, stocks).await;
        Ok(())
    }

    async fn enforce(&mut self, config: Config, stocks: Vec<Stock>) {
        self.host.nvidia.judge_by(config.xids.clone());
        self.config = config;
        self.publish(stocks).await;
    }

    /// Puts `config` into force, or says why not and keeps it in mind: what stands against it may change.
    pub(super) async fn reload(&mut self, config: Config) {
        match self.change(config.clone()).await {
            Ok(()) => {
                self.refused = None;
                tracing::info!("the changed config is in force");
            }
            Err(error) => {
                self.refused = Some(config);
                tracing::error!("the running config stays: {}", chain(&error));
            }
        }
    }

    pub(super) async fn rescan(&mut self) {
        if let Some(config) = self.refused.take() {
            match self.change(config.clone()).await {
                Ok(()) => return tracing::info!("the changed config is in force"),
                Err(_said_before) => self.refused = Some(config),
            }
        }
        match self.scan(&self.config.clone()).await {
            Ok(stocks) => self.publish(stocks).await,
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    /// Looks for the devices of `config`, with every folder watched in which one may appear.
    async fn scan(&mut self, config: &Config) -> Result<Vec<Stock>, RunError> {
        let began = Instant::now();
        let mut survey = Survey::default();
        for _ in 0..SCANS_IN_A_ROW {
            survey = self.look(config).await?;
            let folders = survey.folders.iter();
            if !self.folders.follow(&folders.map(|folder| self.host.root.locate(folder)).collect()) {
                break;
            }
        }
        self.scans += 1;
        let moment = Moment { scan: self.scans, at: Instant::now() };
        self.means.board.scanned(began.elapsed());
        let usage = self.usage.borrow().clone();
        let Survey { mut lots, mut faults, .. } = survey;
        self.mps.dress(&mut lots, &mut faults);
        let stock = |lot: Lot| {
            let mut listed = self.offers.get(&lot.name).map(Offer::devices).unwrap_or_default();
            listed.retain(|device| !orphans::is_orphan(device));
            let previous = self.vanished.keep(&lot.name, listed, usage.as_ref(), moment.at);
            Stock::take(lot, &previous, moment, &mut faults)
        };
        let mut stocks: Vec<_> = lots.into_iter().map(stock).collect();
        if let Some(usage) = &usage {
            orphans::list(&mut stocks, usage, moment.at);
        }
        self.report(faults);
        Ok(stocks)
    }

    async fn look(&self, config: &Config) -> Result<Survey, RunError> {
        let (rules, host) = (config.rules.clone(), self.host.clone());
        let known = self.offers.iter().map(|(name, offer)| (name.clone(), offer.listed())).collect();
        tokio::task::spawn_blocking(move || discovery::survey(&rules, &known, &host))
            .await
            .map_err(|error| RunError::System { act: "scan the node", source: error.into() })
    }

    /// Reports what the scan before did not.
    fn report(&mut self, faults: BTreeSet<Fault>) {
        for fault in faults.difference(&self.faults) {
            tracing::warn!(resource = fault.resource, "{}", fault.text);
        }
        self.faults = faults;
    }

    /// Writes the CDI specs of `stocks`, before the kubelet can give any of them to a container, and removes
    /// those of what is neither offered nor held any longer. Of what cannot be written nothing can be had.
    async fn describe(&mut self, stocks: &mut [Stock]) {
        let (folder, specs) = (self.cdi.clone(), stocks.iter().filter_map(Stock::spec).collect::<Vec<_>>());
        let (mut leftovers, holders) = (std::mem::take(&mut self.leftovers), self.holders());
        let written = tokio::task::spawn_blocking(move || {
            let now = Instant::now();
            let offered = |kind: &str| specs.iter().any(|spec| spec.kind() == kind);
            leftovers.forget(offered);
            let removed = folder.sweep(|kind| offered(kind) || leftovers.keep(kind, &holders, now));
            (folder.write(&specs), removed, leftovers)
        });
        let (failed, removed, leftovers) = match written.await {
            Ok(outcome) => outcome,
            Err(error) => return tracing::error!(%error, "writing CDI specs ended badly"),
        };
        self.leftovers = leftovers;
        for stock in stocks {
            stock.withheld = failed.get(stock.name.as_str()).map(|error| chain(error));
        }
        match removed {
            Ok(names) => names.iter().for_each(|file| tracing::info!(file, "removed a CDI spec")),
            Err(error) => tracing::warn!(%error, "cannot look for CDI specs that are wanted no longer"),
        }
    }

    /// Offers `stocks` and nothing else. What is offered already stays registered.
    async fn publish(&mut self, mut stocks: Vec<Stock>) {
        self.mps.want(&stocks);
        self.means.resets.judge(&mut stocks);
        self.describe(&mut stocks).await;
        if self.labels.is_wanted() {
            self.labels.write(labels::text(&stocks, self.host.nvidia.version().as_deref())).await;
        }
        let wanted: HashSet<_> = stocks.iter().map(|stock| &stock.name).collect();
        let dropped: Vec<_> = self.offers.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in dropped {
            if self.lingers(&name) {
                continue;
            }
            if let Some(offer) = self.offers.remove(&name) {
                tracing::info!(resource = %name, "no longer offering");
                offer.stop().await;
            }
        }
        for stock in stocks {
            if self.offers.get(&stock.name).is_some_and(|offer| offer.was_told_otherwise(&stock))
                && let Some(offer) = self.offers.remove(&stock.name)
            {
                offer.stop().await;
            }
            match self.offers.get_mut(&stock.name) {
                Some(offer) => offer.update(&stock),
                None => {
                    let offer = Offer::start(&stock, self.means.clone(), self.agent.clone());
                    self.offers.insert(stock.name, offer);
                }
            }
        }
    }

    /// When a device's probation ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.offers.values().filter_map(Offer::due).min()
    }

    fn holders(&self) -> Holders {
        match self.usage.borrow().clone() {
            Some(usage) => Holders::Told(usage),
            None if self.podresources.exists() => Holders::Unanswered,
            None => Holders::Unknowable,
        }
    }

    /// Whether an answer about what containers hold may change what is listed: something is kept that is
    /// gone, or held that is not listed.
    pub(super) fn minds_usage(&self) -> bool {
        let usage = self.usage.borrow();
        let lacks_any = |offer: &Offer| usage.as_ref().is_some_and(|usage| offer.lacks_any(usage));
        !self.leftovers.is_empty()
            || self.offers.values().any(|offer| offer.remembers_any() || lacks_any(offer))
    }

    /// Whether `name`, under which there is nothing left, is one that a rule may give to devices again, and
    /// is to be offered a little longer.
    fn lingers(&mut self, name: &ResourceName) -> bool {
        let Some(offer) = self.offers.get_mut(name) else { return false };
        let meant = self.config.rules.iter().any(|rule| rule.naming == *offer.naming());
        meant && offer.linger(Instant::now())
    }

    /// Ends all offers at the same time: each may have calls to finish.
    pub(super) async fn stop(self) {
        let stopping: Vec<_> = self.offers.into_values().map(|offer| tokio::spawn(offer.stop())).collect();
        for offer in stopping {
            if let Err(error) = offer.await {
                tracing::error!(%error, "an offer ended badly");
            }
        }
        self.mps.stop().await;
    }
}
