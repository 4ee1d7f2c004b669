//! GPUs shared by NVIDIA's Multi-Process Service (MPS): the daemon behind them, kept running while a rule
//! wants it, and what containers need in order to reach it.
//!
//! It is for the NVIDIA preset alone, a DaemonSet of its own with the runtime class `nvidia`: the daemon runs
//! in this container, and must be let at the GPUs.
//!
//! | below `--mps-dir` | what it is | in containers |
//! |---|---|---|
//! | `pipe` | the daemon's sockets | `/run/nvidia/mps`, named by `CUDA_MPS_PIPE_DIRECTORY` |
//! | `shm` | the memory that daemon and containers share | `/dev/shm` |
//! | `log` | what the daemon and its servers log, cut when it grows | – |
//!
//! The daemon's own `/dev/shm` must be that folder too: mount the host's `--mps-dir` at the same path, and its
//! `shm` at `/dev/shm` of this container. Below `/run` it is in memory already, so that nothing needs the
//! right to mount. Where it is not, a warning says so.
//!
//! Each share has an equal part of its GPU's memory, which the daemon enforces, and of its threads, which the
//! daemon and `CUDA_MPS_ACTIVE_THREAD_PERCENTAGE` in the container enforce. Limits:
//!
//! - the daemon's default of threads is one number for all GPUs, hence that of the rule with the largest
//!   shares; a container that unsets its variable gets as much;
//! - changed limits are those of servers the daemon starts from then on;
//! - the daemon ends with this process, and its clients with it: an upgrade interrupts them. So does a further
//!   GPU, of which a running daemon cannot be told;
//! - a server that leaves the daemon's process group ends with this container, no sooner;
//! - GPUs stay in their compute mode: a process that reaches one past MPS is not kept out;
//! - the daemon serves the clients of one user at a time, by NVIDIA's design.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::sharing::Mode;
use crate::device::{Found, Health, Mount};
use crate::discovery::{Fault, Lot};
use crate::hostroot::HostRoot;
use crate::stock::Stock;

mod daemon;
mod demand;
mod program;
mod supervisor;
mod tail;

use demand::{Demand, Share};
use program::Program;
use supervisor::Supervisor;

/// Where containers find the daemon's sockets.
const PIPE: &str = "/run/nvidia/mps";
const STARTING: &str = "the MPS daemon is being started";

/// How the daemon stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It answers, and enforces these limits.
    Ready(Demand),
    /// Nobody can use it, for this reason.
    Waiting(String),
}

/// The daemon, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Mps {
    wanted: watch::Sender<Demand>,
    standing: watch::Receiver<Standing>,
    mounts: Vec<Mount>,
    task: JoinHandle<()>,
}

impl Mps {
    /// Nothing runs yet. The driver is below the host's `driver_root`; `news` is told of what changes.
    pub(crate) fn new(root: &HostRoot, driver_root: &str, dir: &Path, news: Arc<Notify>) -> Mps {
        let program = Program::new(root.clone(), driver_root, dir);
        let mounts = mounts(&program);
        let (wanted, demand) = watch::channel(Demand::default());
        let (told, standing) = watch::channel(Standing::Waiting(STARTING.to_owned()));
        let task = tokio::spawn(Supervisor::new(program, told, news).run(demand));
        Mps { wanted, standing, mounts, task }
    }

    /// Gives devices that are shared by MPS what their containers need, and the daemon's health where theirs
    /// is good.
    pub(crate) fn dress(&self, lots: &mut [Lot], faults: &mut BTreeSet<Fault>) {
        for lot in lots {
            let Mode::Mps { replicas } = lot.rule.sharing.mode else { continue };
            let found = std::mem::take(&mut lot.found);
            let (parts, cards): (Vec<_>, _) = found.into_iter().partition(is_part);
            let resource = lot.rule.naming.to_string();
            faults.extend(parts.iter().map(|part| Fault { resource: resource.clone(), text: refusal(part) }));
            lot.found = cards;
            for found in &mut lot.found {
                self.dress_one(found, replicas);
            }
        }
    }

    fn dress_one(&self, found: &mut Found, replicas: u32) {
        let share = Share::of(found, replicas);
        found.edits.answered.extend(self.mounts.iter().cloned());
        let env = [
            ("CUDA_MPS_PIPE_DIRECTORY", PIPE.to_owned()),
            ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", share.threads().to_string()),
        ];
        found.edits.env.extend(env.map(|(name, value)| (name.to_owned(), value)));
        if found.health.is_healthy() {
            let reason = self.why_not(found, share);
            found.health = reason.map_or(Health::Healthy, |reason| Health::Unhealthy { reason });
        }
    }

    /// Why `share` of `found` cannot be had.
    fn why_not(&self, found: &Found, share: Share) -> Option<String> {
        if !demand::is_uuid(&found.id) {
            return Some(
                "its UUID is not known, by which the MPS daemon is told of it: see to NVML".to_owned(),
            );
        }
        match &*self.standing.borrow() {
            Standing::Ready(demand) if demand.share(&found.id) == Some(share) => None,
            Standing::Ready(_) => Some(STARTING.to_owned()),
            Standing::Waiting(reason) => Some(reason.clone()),
        }
    }

    /// Has the daemon run for `stocks`, or not at all where none of them is shared by MPS.
    pub(crate) fn want(&self, stocks: &[Stock]) {
        let new = Demand::of(stocks);
        self.wanted.send_if_modified(|demand| {
            let changed = *demand != new;
            *demand = new;
            changed
        });
    }

    /// Ends the daemon, and with it whatever it has started.
    pub(crate) async fn stop(self) {
        self.wanted.send_replace(Demand::default());
        drop(self.wanted);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "looking after the MPS daemon ended badly");
        }
    }
}

fn mounts(program: &Program) -> Vec<Mount> {
    let mount = |host_path: &Path, container_path: &str| Mount {
        host_path: host_path.display().to_string(),
        container_path: container_path.to_owned(),
        read_only: false,
    };
    vec![mount(program.pipe(), PIPE), mount(program.shm(), program::SHM)]
}

fn is_part(found: &Found) -> bool {
    found.parent.is_some()
}

fn refusal(part: &Found) -> String {
    format!(
        "{} is a part of a GPU in MIG mode, which cannot be shared by MPS as well: match `profile: full`, or \
         use time-slicing",
        part.id
    )
}
