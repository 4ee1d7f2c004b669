//! What Prometheus reads on `/metrics`. No label holds the name of a pod or of another node, and every value
//! of a label is from a list, so that the number of series is bounded. The README has a table of them.

mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tripod_cni::Usage;
use tripod_cni::telemetry::{Ended, Report};

pub(crate) use server::fetch;
pub use server::{PORT, serve};

use crate::agent::Phase;
use crate::installed::{Installed, State};
use crate::plan;
use crate::status::{BACKENDS, PEER_STATES, PeerStatus};

/// Names and values of labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What a runtime may call.
const OPERATIONS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// Codes that our plugin gives; those of others it hands on are `other`.
const CODES: [(u32, &str); 19] = [
    (0, "0"),
    (1, "1"),
    (4, "4"),
    (5, "5"),
    (6, "6"),
    (7, "7"),
    (8, "8"),
    (11, "11"),
    (50, "50"),
    (51, "51"),
    (100, "100"),
    (101, "101"),
    (102, "102"),
    (103, "103"),
    (104, "104"),
    (105, "105"),
    (106, "106"),
    (107, "107"),
    (999, "999"),
];

/// Providers of credentials; `none` where no entry matched.
const PROVIDERS: [&str; 15] = [
    "acr",
    "cloudsmith",
    "docker-config",
    "docker-helper",
    "ecr",
    "ecr-public",
    "gcp",
    "harbor",
    "jfrog",
    "kubelet-plugin",
    "none",
    "ocir",
    "oidc",
    "quay",
    "vault",
];

/// Kinds of [`ApplyError`](crate::agent::ApplyError).
const ERRORS: [&str; 7] = ["sysctl", "kernel", "link", "firewall", "files", "snapshot", "conflist"];

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    state: Family<Labels<2>, Gauge>,
    peers: Family<Labels<2>, Gauge>,
    reconcile: Histogram,
    errors: Family<Labels<1>, Counter>,
    dirty: Gauge<f64, AtomicU64>,
    overruns: Counter,
    addresses: Family<Labels<2>, Gauge>,
    attachments: Gauge,
    operations: Family<Labels<3>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    credentials: Family<Labels<3>, Counter>,
    installed: Family<Labels<1>, Gauge>,
    dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("tripod"),
            state: Family::default(),
            peers: Family::default(),
            reconcile: Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
            errors: Family::default(),
            dirty: Gauge::default(),
            overruns: Counter::default(),
            addresses: Family::default(),
            attachments: Gauge::default(),
            operations: Family::default(),
            durations: Family::new_with_constructor(operation_buckets),
            credentials: Family::default(),
            installed: Family::default(),
            dropped: Counter::default(),
        };
        metrics.registered().with_every_series()
    }
}

/// An ADD takes a few milliseconds, and gives up after half a minute.
fn operation_buckets() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0])
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The agent's version", build);
        registry.register("state", "1 for the state that the component is in", self.state.clone());
        registry.register("peers", "Other nodes, by how they are linked", self.peers.clone());
        let what = "Time from the beginning of a look at the node to its end";
        registry.register("reconcile_duration_seconds", what, self.reconcile.clone());
        let what = "Looks that ended with an error, by the step that failed";
        registry.register("reconcile_errors", what, self.errors.clone());
        let what = "Age of the oldest change that is not applied; 0 without one";
        registry.register("dirty_oldest_seconds", what, self.dirty.clone());
        let what = "How often the kernel had more to tell than its queue holds";
        registry.register("netlink_overruns", what, self.overruns.clone());
        registry.register("ipam_addresses", "Addresses of the node's pod CIDRs", self.addresses.clone());
        registry.register("attachments", "Attachments with a record", self.attachments.clone());
        registry.register("cni_operations", "Calls of tripod-cni", self.operations.clone());
        let what = "Time that a call of tripod-cni took";
        registry.register("cni_operation_duration_seconds", what, self.durations.clone());
        let what = "Questions of the kubelet for credentials";
        registry.register("credprov_requests", what, self.credentials.clone());
        let what = "1 for a file of the host that is as the image and the ConfigMap say, otherwise 0";
        registry.register("install_current", what, self.installed.clone());
        let what = "Reports of other programs that could not be read";
        registry.register("telemetry_dropped", what, self.dropped.clone());
        self
    }

    /// What never happened counts 0: a rate needs a beginning.
    fn with_every_series(self) -> Self {
        self.set_phase(&Phase::default());
        self.set_peers(&[]);
        for kind in ERRORS {
            drop(self.errors.get_or_create(&[("kind", kind)]));
        }
        for op in OPERATIONS {
            drop(self.operations.get_or_create(&[("op", op), ("result", "ok"), ("code", "0")]));
            drop(self.durations.get_or_create(&[("op", op)]));
        }
        // Of the providers a node uses one or two.
        let unclaimed = [("provider", "none"), ("result", "error"), ("cache", "miss")];
        drop(self.credentials.get_or_create(&unclaimed));
        self.set_usage(&[(false, Usage::default()), (true, Usage::default())]);
        self
    }

    /// The agent entered a phase.
    pub fn set_phase(&self, phase: &Phase) {
        for word in Phase::WORDS {
            let is_current = i64::from(word == phase.word());
            self.state.get_or_create(&[("component", "net"), ("state", word)]).set(is_current);
        }
    }

    /// How the other nodes are linked now.
    pub fn set_peers(&self, peers: &[PeerStatus]) {
        for backend in BACKENDS {
            for state in PEER_STATES {
                let count =
                    peers.iter().filter(|peer| peer.backend == backend && peer.state == state).count();
                let labels = [("backend", backend), ("state", state)];
                self.peers.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// A look at the node ended.
    pub fn reconciled(&self, spent: Duration, overruns: u64) {
        self.reconcile.observe(spent.as_secs_f64());
        self.overruns.inner().store(overruns, Ordering::Relaxed);
    }

    /// A look at the node failed at a step of this kind.
    pub fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&[("kind", kind)]).inc();
    }

    /// How long the oldest change has not been applied.
    pub fn set_dirty(&self, age: Duration) {
        self.dirty.set(age.as_secs_f64());
    }

    /// How full the pod CIDRs are, of which each is IPv6 or not.
    pub fn set_usage(&self, usage: &[(bool, Usage)]) {
        for (is_ipv6, Usage { leased, cooling, free }) in usage {
            let family = if *is_ipv6 { "ipv6" } else { "ipv4" };
            for (state, count) in [("leased", leased), ("cooling", cooling), ("free", free)] {
                let labels = [("family", family), ("state", state)];
                self.addresses.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
            }
        }
    }

    /// How many attachments there are.
    pub fn set_attachments(&self, count: usize) {
        self.attachments.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What became of the host's files.
    pub fn set_installed(&self, files: &[Installed]) {
        // A key that was taken out of the ConfigMap is no file of ours any more.
        self.installed.clear();
        for file in files {
            if let Some(name) = plan::NAMES.into_iter().find(|name| *name == file.name()) {
                let is_current = i64::from(file.state == State::Current);
                self.installed.get_or_create(&[("file", name)]).set(is_current);
            }
        }
    }

    /// Counts what a program says of one call, if it is one that is known.
    pub fn count(&self, report: &Report) {
        let result = if report.result == Ended::Ok { "ok" } else { "error" };
        let known = |all: &[&'static str]| all.iter().copied().find(|op| *op == report.op);
        match (report.v, report.leg.as_str()) {
            (1, "cni") => match known(&OPERATIONS) {
                Some(op) => self.count_operation(op, result, report),
                None => self.drop_report(),
            },
            (1, "credential-provider") => match known(&PROVIDERS) {
                Some(provider) => self.count_credentials(provider, result, report),
                None => self.drop_report(),
            },
            _ => self.drop_report(),
        }
    }

    fn count_credentials(&self, provider: &'static str, result: &'static str, report: &Report) {
        let cache = if report.code == 1 { "hit" } else { "miss" };
        let labels = [("provider", provider), ("result", result), ("cache", cache)];
        self.credentials.get_or_create(&labels).inc();
    }

    fn count_operation(&self, op: &'static str, result: &'static str, report: &Report) {
        let code = CODES.iter().find(|(code, _)| *code == report.code).map_or("other", |(_, text)| text);
        self.operations.get_or_create(&[("op", op), ("result", result), ("code", code)]).inc();
        let spent = Duration::from_millis(report.ms);
        self.durations.get_or_create(&[("op", op)]).observe(spent.as_secs_f64());
    }

    /// Counts a report that says nothing.
    pub fn drop_report(&self) {
        self.dropped.inc();
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut rendered = String::new();
        if let Err(error) = text::encode(&mut rendered, &self.registry) {
            tracing::debug!(%error, "metrics cannot be rendered");
        }
        rendered
    }
}

#[cfg(test)]
mod tests;
