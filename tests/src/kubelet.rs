//! A stand-in for the kubelet's device manager: real gRPC on real sockets, with the kubelet's order of
//! calls and its habits, for tests and for the demo.
//!
//! It needs no privilege and no cluster: a folder is its device plugin directory.
//!
//! ```no_run
//! # async fn demo() -> anyhow::Result<()> {
//! let kubelet = tripod_tests::kubelet::Kubelet::start("/tmp/device-plugins").await?;
//! // … start a device plugin with --plugin-dir /tmp/device-plugins …
//! kubelet.until_allocatable("example.com/serial", 1).await?;
//! let given = kubelet.admit("example.com/serial", 1).await?;
//! println!("the container gets {:?}", given.response.devices);
//! # Ok(()) }
//! ```

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tripod_proto::deviceplugin::v1beta1::registration_server::RegistrationServer;
use tripod_proto::deviceplugin::v1beta1::{ContainerAllocateResponse, Device};

mod admission;
mod checkpoint;
mod disguise;
mod ledger;
mod plugin_watcher;
mod podresources;
mod registry;
mod resource_name;
mod wire;

use ledger::Ledger;
pub use ledger::{Event, Happening, Plugin, Shown, Tracking, View};
use registry::Registry;
use wire::Wire;

/// How long the waiting calls wait.
const DEADLINE: Duration = Duration::from_secs(20);
const SOCKET: &str = "kubelet.sock";
/// How long a real kubelet shows a resource whose plugin is gone.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// A running (or stopped) stand-in.
#[derive(Debug)]
pub struct Kubelet {
    dir: PathBuf,
    ledger: Ledger,
    grace: Duration,
    serving: Option<Serving>,
    /// The folder of the plugin watcher, if there is one, and the watcher while it runs.
    watched: Option<PathBuf>,
    watching: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Serving {
    since: Instant,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What a container was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The container, whose name no other one ever had.
    pub container: String,
    /// Of what it was given.
    pub resource: String,
    /// The ids of its devices.
    pub ids: Vec<String>,
    /// What the plugin said the container needs.
    pub response: ContainerAllocateResponse,
}

impl Kubelet {
    /// A kubelet that starts with `dir` as its device plugin directory.
    pub async fn start(dir: impl Into<PathBuf>) -> anyhow::Result<Kubelet> {
        let mut kubelet = Kubelet::absent(dir);
        kubelet.begin()?;
        Ok(kubelet)
    }

    /// A kubelet that does not run yet; [`restart`](Kubelet::restart) starts it.
    pub fn absent(dir: impl Into<PathBuf>) -> Kubelet {
        Kubelet {
            dir: dir.into(),
            ledger: Ledger::new(),
            grace: GRACE,
            serving: None,
            watched: None,
            watching: None,
        }
    }

    /// Stops, drops every connection, and starts again: removes all sockets in the directory, then makes
    /// its own. Returns the moment at which the new socket listened.
    pub async fn restart(&mut self) -> anyhow::Result<Instant> {
        self.stop().await;
        self.begin()
    }

    /// Stops as on SIGTERM: the socket goes, and all streams end.
    pub async fn stop(&mut self) {
        self.halt().await;
        let _ = std::fs::remove_file(self.dir.join(SOCKET));
    }

    /// Stops as on SIGKILL: all streams end, and the dead socket stays.
    pub async fn crash(&mut self) {
        self.halt().await;
    }

    /// Makes the registration socket anew while all streams go on, as a kubelet does whose registration
    /// server has failed.
    pub async fn renew_socket(&mut self) -> anyhow::Result<Instant> {
        self.close().await;
        std::fs::remove_file(self.dir.join(SOCKET))?;
        self.listen()
    }

    /// Closes all ListAndWatch streams and nothing else.
    pub async fn close_streams(&mut self) {
        let streams = self.ledger.with(|view| {
            for plugin in view.plugins.values() {
                plugin.hangup.send_replace(true);
            }
            std::mem::take(&mut view.streams)
        });
        for stream in streams {
            let _ = stream.await;
        }
    }

    /// Looks for plugins in `folder` too, from now on and after each restart.
    pub fn watch_plugins(&mut self, folder: impl Into<PathBuf>) {
        self.watched = Some(folder.into());
        self.look_for_plugins();
    }

    fn look_for_plugins(&mut self) {
        let registry = Registry { dir: self.dir.clone(), ledger: self.ledger.clone() };
        let watch = |folder| tokio::spawn(plugin_watcher::watch(folder, registry));
        self.watching = self.watched.clone().map(watch);
    }

    /// Stops to read device lists after the next one, or goes on. The connections stay.
    pub fn read(&self, reading: bool) {
        self.ledger.read(reading);
    }

    /// Breaks every connection made from now on after `bytes`, both directions counted together; `None`
    /// lets new ones live.
    pub fn sever_after(&self, bytes: Option<usize>) {
        self.ledger.with(|view| view.sever_after = bytes);
    }

    /// Tells registrations apart as kubelets of another version do.
    pub fn track(&self, tracking: Tracking) {
        self.ledger.with(|view| view.tracking = tracking);
    }

    /// Shows a resource for so long after its plugin is gone.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// What the node's status shows of `resource`; `None` when it does not name it.
    pub fn shown(&self, resource: &str) -> Option<Shown> {
        self.look(|view| view.shown(resource, self.grace))
    }

    /// When the registration socket began to listen.
    pub fn listening_since(&self) -> Option<Instant> {
        self.serving.as_ref().map(|serving| serving.since)
    }

    /// Refuses all registrations with `reason`, or takes them again.
    pub fn refuse(&self, reason: Option<&str>) {
        self.ledger.with(|view| view.refusal = reason.map(str::to_owned));
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        self.ledger.peek(look)
    }

    /// Waits until `probe` finds what it looks for; `what` is told when it does not in time.
    pub async fn until<T>(&self, what: &str, probe: impl FnMut(&View) -> Option<T>) -> anyhow::Result<T> {
        self.ledger.until(what, DEADLINE, probe).await
    }

    /// Waits until `count` devices of `resource` are allocatable, and returns its whole list.
    pub async fn until_allocatable(&self, resource: &str, count: usize) -> anyhow::Result<Vec<Device>> {
        let what = format!("{count} allocatable devices of {resource}");
        let wanted = |view: &View| {
            let plugin = view.plugins.get(resource).filter(|plugin| plugin.allocatable() == count)?;
            plugin.devices.clone()
        };
        self.until(&what, wanted).await
    }

    fn begin(&mut self) -> anyhow::Result<Instant> {
        std::fs::create_dir_all(&self.dir)?;
        remove_sockets(&self.dir)?;
        let checkpoint = checkpoint::read(&self.dir)?;
        self.ledger.with(|view| {
            view.admissions = checkpoint.admissions;
            for resource in checkpoint.resources {
                // Named with nothing to give until its plugin registers again.
                view.stopped.insert(resource.clone(), Instant::now());
                view.known.insert(resource, Vec::new());
            }
        });
        self.look_for_plugins();
        self.listen()
    }

    fn listen(&mut self) -> anyhow::Result<Instant> {
        let listener = UnixListener::bind(self.dir.join(SOCKET))?;
        let since = Instant::now();
        let registry = Registry { dir: self.dir.clone(), ledger: self.ledger.clone() };
        let (stop, stopped) = oneshot::channel::<()>();
        let ledger = self.ledger.clone();
        let task = tokio::spawn(async move {
            let accepted = UnixListenerStream::new(listener);
            let incoming = accepted.map(move |stream| stream.map(|s| Wire::new(s, ledger.clone())));
            let server = tonic::transport::Server::builder().add_service(RegistrationServer::new(registry));
            let _ = server.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }).await;
        });
        self.serving = Some(Serving { since, stop, task });
        Ok(since)
    }

    async fn halt(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
            let _ = watching.await;
        }
        self.close_streams().await;
        self.ledger.with(|view| {
            view.plugins.clear();
            view.admissions.clear();
            view.known.clear();
            view.stopped.clear();
        });
        self.close().await;
    }

    async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            drop(serving.stop);
            serving.task.abort();
            let _ = serving.task.await;
        }
    }
}

/// As the kubelet at its start: whatever socket is there belongs to a registration of the past.
fn remove_sockets(dir: &Path) -> anyhow::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if is_socket && entry.file_name() != checkpoint::FILE {
            // A plugin that stops removes its own at the same time.
            std::fs::remove_file(entry.path()).or_else(absent)?;
        }
    }
    Ok(())
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
