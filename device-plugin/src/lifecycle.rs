//! The long-running verb: offers what the config says and the node has, until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::board::Board;
use crate::config::watch::ConfigWatch;
use crate::discovery::Host;
use crate::discovery::nvidia::Driver;
use crate::error::RunError;
use crate::hostroot::HostRoot;
use crate::podresources::{self, Inquiry, Usage};
use crate::registration::Way;
use crate::socket::PluginDir;
use crate::{metrics, readiness};

mod node;

use node::Node;

/// So many releases may be on their way to who acts upon them.
const MAX_RELEASES: usize = 4096;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The config file.
    pub config: PathBuf,
    /// The host's `/`.
    pub host_root: HostRoot,
    /// Where NVIDIA's driver is on the host.
    pub nvidia_driver_root: String,
    /// How the kubelet learns of us.
    pub registration: Way,
    /// The kubelet's directory for sockets that are registered so.
    pub plugin_dir: PathBuf,
    /// The folder of CDI specs.
    pub cdi_dir: PathBuf,
    /// Where NVIDIA's Multi-Process Service has its folders, on the host and here.
    pub mps_dir: PathBuf,
    /// Where Node Feature Discovery reads labels, if it is to be given any.
    pub nfd_dir: Option<PathBuf>,
    /// Where the node agent listens for news.
    pub agent_socket: PathBuf,
    /// Where probes are answered, if anywhere.
    pub health: Option<SocketAddr>,
    /// Where metrics are answered, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How the kubelet is asked what containers hold.
    pub inquiry: Inquiry,
}

/// Offers devices until `stop` becomes true, then removes its sockets.
pub async fn run(places: Places, mut stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let dir = PluginDir::new(&places.plugin_dir)?;
    let (mut config_watch, config) = ConfigWatch::open(&places.config)?;
    let (ready, readiness) = watch::channel(false);
    let board = Board::default();
    if let Some(address) = places.health {
        let address = readiness::listen(address, readiness, board.clone()).await?;
        tracing::info!(%address, "answering probes");
    }
    if let Some(address) = places.metrics {
        let address = metrics::listen(address, board.clone()).await?;
        tracing::info!(%address, "answering metrics");
    }
    sweep(&dir);
    let nvidia = Driver::new(&places.nvidia_driver_root);
    let news = nvidia.news();
    let host = Host { root: places.host_root.clone(), nvidia };
    let (releases, released) = mpsc::channel(MAX_RELEASES);
    let usage = podresources::watch(places.inquiry.clone(), board.clone(), Some(releases));
    let mut answers = usage.clone();
    let mut node = Node::new(host, &places, dir, board, usage.clone());
    let resets = node.means.resets.clone();
    tokio::spawn(resets.clone().attend(released, usage));
    node.start(config).await?;
    ready.send_replace(true);
    loop {
        let due = node.due();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            config = config_watch.next() => node.reload(config).await,
            () = node.folders.settled() => node.rescan().await,
            () = at(due) => node.rescan().await,
            () = news.notified() => node.rescan().await,
            () = resets.changed() => node.rescan().await,
            () = answer(&mut answers) => if node.minds_usage() { node.rescan().await },
        }
    }
    ready.send_replace(false);
    node.stop().await;
    Ok(())
}

/// Waits for `moment`, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for an answer about what containers hold.
async fn answer(usage: &mut watch::Receiver<Option<Usage>>) {
    if usage.changed().await.is_err() {
        // Nobody asks any more.
        std::future::pending::<()>().await;
    }
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
