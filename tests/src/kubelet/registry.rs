//! The kubelet's side of the device plugin API: Registration with its synchronous back-dial, and the
//! stream that follows it.

use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tripod_proto::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use tripod_proto::deviceplugin::v1beta1::registration_server::Registration;
use tripod_proto::deviceplugin::v1beta1::{Empty, RegisterRequest};

use super::ledger::{Happening, Ledger, Plugin, Tracking, View};
use super::{checkpoint, resource_name, wire};

const VERSION: &str = "v1beta1";
/// grpc-go's default, which no kubelet has raised.
const MAX_LIST: usize = 4 * 1024 * 1024;

/// Serves `kubelet.sock`.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    pub(super) dir: PathBuf,
    pub(super) ledger: Ledger,
}

#[tonic::async_trait]
impl Registration for Registry {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        let outcome = self.accept(&request).await;
        // A plain Go error is what the kubelet returns: code Unknown.
        outcome.map(|()| Response::new(Empty {})).map_err(|reason| {
            let refused = Happening::Refused(reason.clone());
            self.ledger.note(&request.resource_name, &request.endpoint, refused);
            Status::unknown(reason)
        })
    }
}

impl Registry {
    async fn accept(&self, request: &RegisterRequest) -> Result<(), String> {
        let (resource, endpoint) = (&request.resource_name, &request.endpoint);
        self.willing()?;
        validate(resource, std::slice::from_ref(&request.version))?;
        self.connect(resource, endpoint, &self.dir.join(endpoint)).await
    }

    /// Whether plugins are taken.
    pub(super) fn willing(&self) -> Result<(), String> {
        self.ledger.peek(|view| view.refusal.clone()).map_or(Ok(()), Err)
    }

    /// Notes that the plugin on `socket`, which has not told its name, was not taken.
    pub(super) fn refused(&self, socket: &Path, reason: String) {
        self.ledger.note("", &socket.display().to_string(), Happening::Refused(reason));
    }

    /// Disconnects from `resource`, if it is the one that is served on `socket` or if that counts for all.
    pub(super) fn hang_up(&self, resource: &str, socket: &Path) {
        self.ledger.with(|view| {
            let Some(plugin) = view.plugins.get(resource) else { return };
            if view.tracking == Tracking::ByName || Path::new(&plugin.endpoint) == socket {
                plugin.hangup.send_replace(true);
            }
        });
    }

    /// Connects to the plugin that serves `resource` on `socket`, and follows its list.
    pub(super) async fn connect(&self, resource: &str, endpoint: &str, socket: &Path) -> Result<(), String> {
        let channel = wire::dial(socket, &self.ledger).await?;
        // Asked before Register returns: a plugin that serves only afterwards never registers.
        let answer = DevicePluginClient::new(channel.clone()).get_device_plugin_options(Empty {}).await;
        let options =
            answer.map_err(|status| format!("cannot get the options of {endpoint}: {status}"))?.into_inner();
        let (hangup, hung_up) = watch::channel(false);
        let plugin = Plugin {
            endpoint: endpoint.to_owned(),
            options,
            devices: None,
            channel: Some(channel.clone()),
            hangup,
        };
        self.ledger.note(resource, endpoint, Happening::Registered);
        let following =
            tokio::spawn(self.clone().follow(plugin.endpoint.clone(), resource.to_owned(), channel, hung_up));
        self.ledger.with(|view| {
            view.stopped.remove(resource);
            view.plugins.insert(resource.to_owned(), plugin);
            view.streams.push(following);
        });
        Ok(())
    }

    async fn follow(
        self,
        endpoint: String,
        resource: String,
        channel: Channel,
        mut hung_up: watch::Receiver<bool>,
    ) {
        tokio::select! {
            () = self.listen(&resource, &endpoint, channel) => {}
            _ = hung_up.wait_for(|over| *over) => {}
        }
        self.ledger.note(&resource, &endpoint, Happening::StreamEnded);
        self.ledger.with(|view| disconnect(view, &resource, &endpoint));
    }

    async fn listen(&self, resource: &str, endpoint: &str, channel: Channel) {
        let mut client = DevicePluginClient::new(channel).max_decoding_message_size(MAX_LIST);
        let Ok(answer) = client.list_and_watch(Empty {}).await else { return };
        let mut lists = answer.into_inner();
        while let Ok(Some(list)) = lists.message().await {
            self.ledger.with(|view| {
                let current = view.plugins.get_mut(resource).filter(|plugin| plugin.endpoint == endpoint);
                if let Some(plugin) = current {
                    plugin.devices = Some(list.devices.clone());
                }
                view.known.insert(resource.to_owned(), list.devices.clone());
                // The kubelet writes its checkpoint at each list, whatever changed.
                checkpoint::write(&self.dir, view).expect("a checkpoint");
            });
            self.ledger.note(resource, endpoint, Happening::Listed(list.devices));
            self.ledger.until_reading().await;
        }
    }
}

/// What a kubelet checks before it connects.
pub(super) fn validate(resource: &str, versions: &[String]) -> Result<(), String> {
    if !versions.iter().any(|version| version == VERSION) {
        return Err(format!("API versions {versions:?} are not supported, only {VERSION:?}"));
    }
    if !resource_name::is_extended(resource) {
        return Err(format!("the resource name {resource:?} is invalid"));
    }
    Ok(())
}

/// What a kubelet does when the stream on `endpoint` is over.
fn disconnect(view: &mut View, resource: &str, endpoint: &str) {
    let Some(plugin) = view.plugins.get_mut(resource) else { return };
    if plugin.endpoint != endpoint && view.tracking == Tracking::BySocket {
        return;
    }
    plugin.devices = None;
    plugin.channel = None;
    plugin.hangup.send_replace(true);
    view.stopped.insert(resource.to_owned(), std::time::Instant::now());
    for device in view.known.get_mut(resource).into_iter().flatten() {
        "Unhealthy".clone_into(&mut device.health);
    }
}
