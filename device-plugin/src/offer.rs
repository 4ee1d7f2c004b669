//! One resource on offer: its inventory over time, and its registration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::board::Tally;
use crate::config::naming::Naming;
use crate::config::resource_name::ResourceName;
use crate::device::{Device, Health};
use crate::discovery::Listed;
use crate::inventory::{self, Change, Snapshot};
use crate::podresources::Usage;
use crate::registration::{Means, Registration};
use crate::reset;
use crate::stock::Stock;
use crate::telemetry::Agent;

/// A kubelet forgets a resource so long after its plugin is gone.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// A name under which devices are offered.
#[derive(Debug)]
pub(crate) struct Offer {
    naming: Naming,
    agent: Agent,
    snapshots: watch::Sender<Arc<Snapshot>>,
    tally: Tally,
    empty_since: Option<Instant>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Offer {
    /// Starts to offer `stock`.
    pub(crate) fn start(stock: &Stock, means: Means, agent: Agent) -> Offer {
        tracing::info!(resource = %stock.name, devices = stock.devices.len(), "offering");
        log_withheld(&stock.name, None, stock.withheld.as_deref());
        let (snapshots, receiver) = watch::channel(Arc::new(stock.snapshot()));
        let (stop, stopped) = watch::channel(false);
        let registration = Registration::new(means, receiver, stopped);
        let tally = registration.tally();
        tell_changes(&tally, &[], &stock.devices, &agent);
        let task = tokio::spawn(registration.run());
        let naming = stock.rule.naming.clone();
        Offer { naming, agent, snapshots, tally, empty_since: None, stop, task }
    }

    /// The devices as they are known now.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.snapshots.borrow().devices().to_vec()
    }

    /// When the first of its devices' probations ends.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.snapshots.borrow().devices().iter().filter_map(|device| device.standing.due()).min()
    }

    /// Whether a device is listed that is gone.
    pub(crate) fn remembers_any(&self) -> bool {
        self.snapshots.borrow().devices().iter().any(|device| device.vanished.is_some())
    }

    /// Whether containers hold something of it by `usage` that is not listed.
    pub(crate) fn lacks_any(&self, usage: &Usage) -> bool {
        let snapshot = self.snapshots.borrow();
        let is_listed = |id: &str| snapshot.devices().iter().any(|device| device.id == id);
        usage.devices(snapshot.resource()).any(|id| !is_listed(id))
    }

    /// What a survey needs to know of what is listed.
    pub(crate) fn listed(&self) -> Listed {
        let known = |device: &Device| (device.found.key.clone(), device.found.properties.clone());
        let devices = self.snapshots.borrow().devices().iter().map(known).collect();
        Listed { naming: self.naming.clone(), devices }
    }

    /// Tells the kubelet of `stock`, if that is news.
    pub(crate) fn update(&mut self, stock: &Stock) {
        self.publish(stock.snapshot());
        self.naming = stock.rule.naming.clone();
        self.empty_since = None;
    }

    /// Whether the kubelet was told otherwise of when to call than `stock` needs. It is told in Register only.
    pub(crate) fn was_told_otherwise(&self, stock: &Stock) -> bool {
        self.snapshots.borrow().reset().is_some() != stock.rule.reset.is_some()
    }

    /// Lists nothing any more, and tells whether it is too soon to end: for so long a kubelet shows a
    /// resource whose plugin is gone, with devices that nobody can have.
    pub(crate) fn linger(&mut self, now: Instant) -> bool {
        let (name, sharing) = {
            let snapshot = self.snapshots.borrow();
            (snapshot.resource().clone(), snapshot.sharing())
        };
        self.publish(Snapshot::new(name, Vec::new(), sharing));
        now.duration_since(*self.empty_since.get_or_insert(now)) < GRACE
    }

    /// How its rule names devices.
    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    fn publish(&mut self, new: Snapshot) {
        // A look changes what is known of a device more often than what the kubelet is told.
        let list_changed = self.snapshots.borrow().list() != new.list();
        self.snapshots.send_if_modified(|snapshot| {
            let changed = **snapshot != new;
            if changed {
                tell_changes(&self.tally, snapshot.devices(), new.devices(), &self.agent);
                log_withheld(new.resource(), snapshot.why_withheld(), new.why_withheld());
                *snapshot = Arc::new(new);
            }
            changed
        });
        if list_changed {
            self.tally.list_changed();
        }
    }

    /// Ends the offer; its socket is gone afterwards.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the registration ended badly");
        }
    }
}

fn tell_changes(tally: &Tally, old: &[Device], new: &[Device], agent: &Agent) {
    let resource = tally.resource();
    let (old, new) = (reset::without_resets(old), reset::without_resets(new));
    for change in inventory::changes(&old, &new) {
        agent.tell(resource, &change);
        tally.health_changed(&change);
        match change {
            Change::Appeared(device) => tracing::info!(%resource, device_id = device.id, "device appeared"),
            Change::Recovered(device) => tracing::info!(%resource, device_id = device.id, "device recovered"),
            Change::Forgotten(device) => tracing::info!(%resource, device_id = device.id, "device forgotten"),
            Change::Failed(device) => {
                let reason = reason(device);
                tracing::warn!(%resource, device_id = device.id, reason, "device failed");
            }
        }
    }
}

fn log_withheld(resource: &ResourceName, before: Option<&str>, now: Option<&str>) {
    match now {
        Some(reason) if before != now => {
            tracing::error!(%resource, "nothing can be given to containers: {reason}")
        }
        None if before.is_some() => tracing::info!(%resource, "devices can be given to containers again"),
        _ => {}
    }
}

/// Why `device` cannot be handed out.
pub(crate) fn reason(device: &Device) -> &str {
    match &device.found.health {
        Health::Healthy => "",
        Health::Unhealthy { reason } => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::config::Config;
    use crate::inventory::tests::devices;
    use crate::registration::Way;
    use crate::reset::Resets;
    use crate::socket::PluginDir;

    fn offer(folder: &std::path::Path, board: &Board) -> (Offer, Stock) {
        let dir = PluginDir::new(folder).unwrap();
        let (_looks, directory) = watch::channel(0);
        let (board, way) = (board.clone(), Way::Classic);
        let resets = Resets::new(board.clone());
        let means = Means { way, dir, directory, board, resets };
        let config = "version: v1\nresources: [{name: a/b, match: {paths: [/dev/x]}}]";
        let rule = Config::parse(config).unwrap().rules.remove(0);
        let name = ResourceName::parse("a/b").unwrap();
        let stock = Stock { name, rule, devices: devices(&["/dev/x"]), left_out: 0, withheld: None };
        (Offer::start(&stock, means, Agent::at(&folder.join("agent.sock"))), stock)
    }

    #[tokio::test]
    async fn a_list_is_as_old_as_what_the_kubelet_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::default();
        let (mut offer, mut stock) = offer(folder.path(), &board);
        let since = || board.rows()[&ResourceName::parse("a/b").unwrap()].since;
        let first = since();
        stock.devices[0].found.vitals.lanes = Some(8);
        offer.update(&stock);
        assert_eq!((offer.devices()[0].found.vitals.lanes, since()), (Some(8), first));
        stock.devices[0].found.numa = Some(1);
        offer.update(&stock);
        assert!(since() > first);
        offer.stop().await;
    }

    #[tokio::test]
    async fn a_name_without_devices_is_listed_empty_for_the_grace() {
        let folder = tempfile::tempdir().unwrap();
        let (mut offer, stock) = offer(folder.path(), &Board::default());
        let now = Instant::now();
        assert!(offer.linger(now) && offer.devices().is_empty());
        assert!(offer.linger(now + GRACE / 2));
        assert!(!offer.linger(now + GRACE));
        offer.update(&stock);
        assert!(offer.linger(now + GRACE), "it had devices in between");
        offer.stop().await;
    }
}
