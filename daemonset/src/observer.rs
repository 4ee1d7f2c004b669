//! What the agent shows of itself: to scrapes, to `tripod-node status`, and by events. The agent's loop
//! writes it; whoever asks reads it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tripod_cni::record::Records;
use tripod_cni::telemetry::{Ended, RANGE_EXHAUSTED, Report};
use tripod_cni::{Usage, usage};

use crate::agent::Phase;
use crate::conflist;
use crate::events::{Queue, Reason};
use crate::installed::{self, Installed, State};
use crate::metrics::Metrics;
use crate::node_facts::{NodeFacts, list};
use crate::plan::CREDENTIAL_CONFIG;
use crate::status::{Leases, Status};

/// What is shown.
#[derive(Debug)]
pub struct Observer {
    /// The counters.
    pub metrics: Metrics,
    /// What an admin should see.
    pub events: Queue,
    /// The node's first address.
    pub address: watch::Sender<Option<IpAddr>>,
    state: PathBuf,
    /// Where container `files` tells what became of the host's files.
    install_report: Option<PathBuf>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    status: Status,
    /// Since when there is something that is not applied.
    dirty: Option<Instant>,
    /// Since when the conflist has been there for the runtime.
    announced: Option<Instant>,
}

/// So long after the conflist was written a runtime has loaded it, and the kubelet has told so.
const LOADED_BY: Duration = Duration::from_secs(60);

impl Observer {
    /// Shows Node `name`, of which nothing is known yet. The agent's state is in folder `state`; what became of
    /// the host's files is in `install_report`.
    pub fn new(name: &str, state: &Path, install_report: Option<&Path>) -> Self {
        let status = Status { node: name.to_owned(), ..Status::default() };
        let mut shown = Shown { status, dirty: None, announced: None };
        shown.status.enter(&Phase::default(), Timestamp::now());
        Self {
            metrics: Metrics::default(),
            events: Queue::default(),
            address: watch::channel(None).0,
            state: state.to_owned(),
            install_report: install_report.map(Path::to_owned),
            shown: Mutex::new(shown),
        }
    }

    /// Something may have changed.
    pub fn dirtied(&self) {
        self.with(|shown| shown.dirty = shown.dirty.or_else(|| Some(Instant::now())));
    }

    /// A look ended in `phase`, which took `spent`; `change` notes what it saw.
    pub fn looked(&self, phase: &Phase, spent: Duration, overruns: u64, change: impl FnOnce(&mut Status)) {
        self.metrics.reconciled(spent, overruns);
        self.metrics.set_phase(phase);
        self.with(|shown| {
            shown.status.enter(phase, Timestamp::now());
            change(&mut shown.status);
            self.metrics.set_peers(&shown.status.peers);
            let is_ready = *phase == Phase::Ready;
            shown.dirty = shown.dirty.filter(|_| !is_ready);
            shown.announced = is_ready.then(|| shown.announced.unwrap_or_else(Instant::now));
        });
        let facts = self.facts();
        let address = facts.as_ref().and_then(|facts| facts.node_ips.first().copied());
        self.address.send_if_modified(|known| std::mem::replace(known, address) != address);
        self.tell_full(facts.as_ref());
        self.tell_unloaded();
        self.tell_not_installed();
    }

    /// Something else was heard.
    pub fn heard(&self, change: impl FnOnce(&mut Status)) {
        self.with(|shown| change(&mut shown.status));
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let mut status = self.with(|shown| shown.status.clone());
        status.leases = self.usage(status.facts.as_ref()).into_iter().map(Leases::from).collect();
        status.installed = self.installed();
        status
    }

    /// The text that Prometheus reads.
    pub fn scrape(&self) -> String {
        let dirty = self.with(|shown| shown.dirty);
        self.metrics.set_dirty(dirty.map_or(Duration::ZERO, |since| since.elapsed()));
        self.metrics.set_usage(&self.usage(self.facts().as_ref()));
        self.metrics.set_installed(&self.installed());
        let records = Records::new(self.state.join("attachments")).list();
        self.metrics.set_attachments(records.map_or(0, |records| records.len()));
        self.metrics.render()
    }

    /// Takes in what a program says of one call.
    pub fn hear(&self, report: &Report) {
        self.metrics.count(report);
        if report.result == Ended::Error && report.code == RANGE_EXHAUSTED {
            let cidrs = self.facts().map(|facts| list(&facts.pod_cidrs));
            let text = format!(
                "tripod-cni found no free address for a pod in {}: delete pods of this node or give it a larger CIDR",
                cidrs.unwrap_or_default()
            );
            self.events.post(Reason::IpExhausted, "", &text);
        }
    }

    fn tell_full(&self, facts: Option<&NodeFacts>) {
        let cidrs = facts.into_iter().flat_map(|facts| &facts.pod_cidrs);
        for (cidr, (_, usage)) in cidrs.zip(self.usage(facts)) {
            if usage.free == 0 && usage.leased > 0 {
                let text = format!(
                    "no free address is left for pods in {cidr}: {} leased, {} cooling down; delete pods of this \
                     node or give it a larger CIDR",
                    usage.leased, usage.cooling
                );
                self.events.post(Reason::IpExhausted, "", &text);
            }
        }
    }

    fn tell_unloaded(&self) {
        let (announced, ready) = self.with(|shown| (shown.announced, shown.status.node_ready.clone()));
        let is_due = announced.is_some_and(|since| since.elapsed() >= LOADED_BY);
        if let Some(ready) = ready.filter(|ready| is_due && ready.lacks_network()) {
            let text = format!(
                "the conflist is written, and the runtime does not take it: {}; tripod-node doctor on the node compares \
                 its folders with ours",
                ready.message
            );
            self.events.post(Reason::ConflistNotLoaded, "", &text);
        }
    }

    fn tell_not_installed(&self) {
        for Installed { path, state, why } in self.installed().iter().filter(|it| it.state != State::Current)
        {
            let is_mistake = *state == State::Refused && path.ends_with(CREDENTIAL_CONFIG);
            let reason = if is_mistake { Reason::CredentialConfigInvalid } else { Reason::InstallFailed };
            self.events.post(reason, &path.display().to_string(), why);
        }
    }

    fn installed(&self) -> Vec<Installed> {
        self.install_report.as_deref().map(installed::read).unwrap_or_default()
    }

    /// The rest of the status has thousands of peers.
    fn facts(&self) -> Option<NodeFacts> {
        self.with(|shown| shown.status.facts.clone())
    }

    fn usage(&self, facts: Option<&NodeFacts>) -> Vec<(bool, Usage)> {
        let cidrs = facts.map_or(&[][..], |facts| &facts.pod_cidrs);
        let usage = usage(&self.state.join("ipam").join(conflist::NETWORK), cidrs);
        cidrs.iter().map(IpNetwork::is_ipv6).zip(usage).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Shown) -> T) -> T {
        work(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::node_facts::Readiness;

    #[test]
    fn a_runtime_that_does_not_take_the_conflist_is_told_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let told = |phase: &Phase, age: Duration, message: &str| {
            let observer = Observer::new("n1", folder.path(), None);
            let (status, reason) = ("False".to_owned(), "KubeletNotReady".to_owned());
            let ready = Readiness { status, reason, message: message.to_owned() };
            observer.heard(|status| status.node_ready = Some(ready));
            observer.looked(phase, Duration::ZERO, 0, |_| {});
            observer.with(|shown| shown.announced = shown.announced.and_then(|since| since.checked_sub(age)));
            observer.looked(phase, Duration::ZERO, 0, |_| {});
            observer.events.next().now_or_never().map(|event| event.reason.word())
        };
        let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady";
        assert_eq!(told(&Phase::Ready, LOADED_BY, network), Some("ConflistNotLoaded"));
        assert_eq!(told(&Phase::Ready, LOADED_BY / 2, network), None);
        assert_eq!(told(&Phase::Ready, LOADED_BY, "container runtime is down"), None);
        assert_eq!(told(&Phase::WaitingForPodCidrs, LOADED_BY, network), None);
    }

    #[test]
    fn a_file_that_is_not_on_the_host_as_it_should_be_is_told_by_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report/install.json");
        let told = |name: &str, state| {
            let why = "because".to_owned();
            installed::write(&path, &[Installed { path: Path::new("/d").join(name), state, why }]).unwrap();
            let observer = Observer::new("n1", folder.path(), Some(&path));
            observer.looked(&Phase::Ready, Duration::ZERO, 0, |_| {});
            let event = observer.events.next().now_or_never();
            (
                event.map(|event| event.reason.word()),
                observer.scrape().contains(&format!("{{file=\"{name}\"}} 1")),
            )
        };
        assert_eq!(told("tripod-cni", State::Current), (None, true));
        assert_eq!(told("tripod-cni", State::Failed), (Some("InstallFailed"), false));
        assert_eq!(told("tripod-cni", State::Refused), (Some("InstallFailed"), false));
        assert_eq!(told(CREDENTIAL_CONFIG, State::Failed), (Some("InstallFailed"), false));
        assert_eq!(told(CREDENTIAL_CONFIG, State::Refused), (Some("CredentialConfigInvalid"), false));
    }
}
