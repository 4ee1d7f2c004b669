//! The kubelet's plugin watcher: it looks for sockets in a folder, asks each what it is, and takes device
//! plugins on without having been called.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tripod_proto::pluginregistration::v1::registration_client::RegistrationClient;
use tripod_proto::pluginregistration::v1::{InfoRequest, RegistrationStatus};

use super::disguise::{self, Disguise};
use super::registry::{self, Registry};

const DIAL: Duration = Duration::from_secs(10);
const INFO: Duration = Duration::from_secs(1);
const NOTIFY: Duration = Duration::from_secs(5);
/// The kubelet itself looks once a second, and at each event.
const LOOK: Duration = Duration::from_millis(50);
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// A socket, told from a later one of the same path.
type Socket = (PathBuf, u64);

/// Watches `folder` until it is dropped.
pub(super) async fn watch(folder: PathBuf, registry: Registry) {
    let mut taken: BTreeMap<Socket, String> = BTreeMap::new();
    let mut failed: BTreeMap<Socket, (Instant, Duration)> = BTreeMap::new();
    loop {
        let present = sockets(&folder);
        taken.retain(|socket, resource| {
            let stays = present.contains(socket);
            if !stays {
                registry.hang_up(resource, &socket.0);
            }
            stays
        });
        for socket in present {
            let waits = failed.get(&socket).is_some_and(|(until, _)| Instant::now() < *until);
            if waits || taken.contains_key(&socket) {
                continue;
            }
            match take(&socket.0, &registry).await {
                Ok(resource) => {
                    failed.remove(&socket);
                    taken.insert(socket, resource);
                }
                Err(reason) => {
                    registry.refused(&socket.0, reason);
                    let wait = failed.get(&socket).map_or(FIRST_RETRY, |(_, wait)| *wait * 2);
                    failed.insert(socket, (Instant::now() + wait, wait));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn sockets(folder: &Path) -> Vec<Socket> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let sockets = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(|metadata| metadata.file_type().is_socket())?;
        Some((entry.path(), metadata.ino()))
    });
    sockets.collect()
}

/// Registers what serves on `socket`, and returns its resource.
async fn take(socket: &Path, registry: &Registry) -> Result<String, String> {
    let mut plugin = RegistrationClient::new(dial(socket).await?);
    let info = tokio::time::timeout(INFO, plugin.get_info(InfoRequest {})).await;
    let info = info.map_err(|_| "GetInfo: deadline exceeded".to_owned())?;
    let info = info.map_err(|status| format!("GetInfo: {status}"))?.into_inner();
    let taken = match &*info.r#type {
        "DevicePlugin" => {
            validate_and_connect(socket, registry, &info.name, &info.endpoint, &info.supported_versions).await
        }
        other => Err(format!("no handler registered for plugin type: {other}")),
    };
    let error = taken.clone().err().unwrap_or_default();
    let status = RegistrationStatus { plugin_registered: taken.is_ok(), error };
    let notified = tokio::time::timeout(NOTIFY, plugin.notify_registration_status(status)).await;
    notified
        .map_err(|_| "NotifyRegistrationStatus: deadline exceeded".to_owned())?
        .map_err(|s| s.to_string())?;
    taken.map(|()| info.name)
}

async fn validate_and_connect(
    socket: &Path,
    registry: &Registry,
    resource: &str,
    endpoint: &str,
    versions: &[String],
) -> Result<(), String> {
    registry.willing()?;
    registry::validate(resource, versions)?;
    let endpoint = if endpoint.is_empty() { socket } else { Path::new(endpoint) };
    registry.connect(resource, &endpoint.display().to_string(), endpoint).await
}

/// Connects as the kubelet does: to a bare path, which becomes the authority.
async fn dial(socket: &Path) -> Result<Channel, String> {
    let path = socket.display().to_string();
    let target = format!("http://{}", disguise::authority(&path));
    let target = Endpoint::from_shared(target).map_err(|error| error.to_string())?.connect_timeout(DIAL);
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move {
            Ok::<_, std::io::Error>(TokioIo::new(Disguise::new(UnixStream::connect(&path).await?, &path)))
        }
    });
    target.connect_with_connector(connector).await.map_err(|error| format!("dial: {error:?}"))
}
