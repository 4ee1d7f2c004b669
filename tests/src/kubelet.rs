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
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Status, Streaming};
use tripod_proto::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use tripod_proto::deviceplugin::v1beta1::registration_server::RegistrationServer;
use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, ContainerAllocateRequest, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, Device, Empty, ListAndWatchResponse, PreferredAllocationRequest,
};

mod ledger;
mod registry;
mod resource_name;

use ledger::Ledger;
pub use ledger::{Event, Happening, Plugin, View};
use registry::Registry;

/// How long the waiting calls wait.
const DEADLINE: Duration = Duration::from_secs(20);
const SOCKET: &str = "kubelet.sock";
const CHECKPOINT: &str = "kubelet_internal_checkpoint";

/// A running (or stopped) stand-in.
#[derive(Debug)]
pub struct Kubelet {
    dir: PathBuf,
    ledger: Ledger,
    serving: Option<Serving>,
}

#[derive(Debug)]
struct Serving {
    since: Instant,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What a container was given.
#[derive(Clone, Debug)]
pub struct Admission {
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
        Kubelet { dir: dir.into(), ledger: Ledger::new(), serving: None }
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
        for stream in self.ledger.with(|view| std::mem::take(&mut view.streams)) {
            stream.abort();
            let _ = stream.await;
        }
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

    /// Another ListAndWatch stream of `resource`, beside the kubelet's own.
    pub async fn open_stream(&self, resource: &str) -> anyhow::Result<Streaming<ListAndWatchResponse>> {
        Ok(self.client(resource)?.list_and_watch(Empty {}).await?.into_inner())
    }

    /// Calls Allocate for one container with these `ids`, whatever they are.
    pub async fn allocate(&self, resource: &str, ids: &[&str]) -> Result<AllocateResponse, Status> {
        let mut client = self.client(resource).map_err(|error| Status::not_found(error.to_string()))?;
        let devices_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids }] };
        Ok(client.allocate(request).await?.into_inner())
    }

    /// Calls GetPreferredAllocation for one container.
    pub async fn preferred(
        &self,
        resource: &str,
        available: &[String],
        must_include: &[String],
        size: usize,
    ) -> anyhow::Result<Vec<String>> {
        let container = ContainerPreferredAllocationRequest {
            available_device_i_ds: available.to_vec(),
            must_include_device_i_ds: must_include.to_vec(),
            allocation_size: i32::try_from(size)?,
        };
        let request = PreferredAllocationRequest { container_requests: vec![container] };
        let answer = self.client(resource)?.get_preferred_allocation(request).await?.into_inner();
        let first = answer.container_responses.into_iter().next();
        Ok(first.map(|response| response.device_i_ds).unwrap_or_default())
    }

    /// Admits a container that asks for `count` devices: chooses among the free healthy ones, by the
    /// plugin's preference if it has one, allocates them and keeps them in use. Fails when they do not
    /// suffice, as a scheduler would leave such a pod pending.
    pub async fn admit(&self, resource: &str, count: usize) -> anyhow::Result<Admission> {
        let free = self.look(|view| free_devices(view, resource));
        anyhow::ensure!(free.len() >= count, "{resource}: {count} devices wanted, {} free", free.len());
        let mut ids = Vec::new();
        let options = self.look(|view| view.plugins.get(resource).map(|plugin| plugin.options));
        if free.len() > count && options.is_some_and(|options| options.get_preferred_allocation_available) {
            ids = self.preferred(resource, &free, &[], count).await?;
            ids.retain(|id| free.contains(id));
        }
        let rest: Vec<_> = free.into_iter().filter(|id| !ids.contains(id)).collect();
        ids.extend(rest);
        ids.truncate(count);
        let wanted: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut answer = self.allocate(resource, &wanted).await?;
        anyhow::ensure!(answer.container_responses.len() == 1, "{resource}: one container, {answer:?}");
        self.ledger.with(|view| {
            if let Some(plugin) = view.plugins.get_mut(resource) {
                plugin.in_use.extend(ids.iter().cloned());
            }
        });
        Ok(Admission { ids, response: answer.container_responses.remove(0) })
    }

    fn client(&self, resource: &str) -> anyhow::Result<DevicePluginClient<tonic::transport::Channel>> {
        let channel = self.look(|view| view.plugins.get(resource).map(|plugin| plugin.channel.clone()));
        let channel = channel.ok_or_else(|| anyhow::anyhow!("{resource} is not registered"))?;
        Ok(DevicePluginClient::new(channel))
    }

    fn begin(&mut self) -> anyhow::Result<Instant> {
        std::fs::create_dir_all(&self.dir)?;
        remove_sockets(&self.dir)?;
        self.listen()
    }

    fn listen(&mut self) -> anyhow::Result<Instant> {
        let listener = UnixListener::bind(self.dir.join(SOCKET))?;
        let since = Instant::now();
        let registry = Registry { dir: self.dir.clone(), ledger: self.ledger.clone() };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(RegistrationServer::new(registry));
            let _ = server.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }).await;
        });
        self.serving = Some(Serving { since, stop, task });
        Ok(since)
    }

    async fn halt(&mut self) {
        self.close_streams().await;
        self.ledger.with(|view| view.plugins.clear());
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
        if entry.file_type()?.is_socket() && entry.file_name() != CHECKPOINT {
            // A plugin whose stream has ended may remove its own meanwhile.
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

fn free_devices(view: &View, resource: &str) -> Vec<String> {
    let Some(plugin) = view.plugins.get(resource) else { return Vec::new() };
    let healthy = plugin.devices.iter().flatten().filter(|device| device.health == "Healthy");
    healthy.map(|device| device.id.clone()).filter(|id| !plugin.in_use.contains(id)).collect()
}
