//! The kubelet's side of the device plugin API: Registration with its synchronous back-dial, and the
//! stream that follows it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tripod_proto::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use tripod_proto::deviceplugin::v1beta1::registration_server::Registration;
use tripod_proto::deviceplugin::v1beta1::{Empty, RegisterRequest};

use super::ledger::{Happening, Ledger, Plugin};
use super::resource_name;

const VERSION: &str = "v1beta1";
const DIAL: Duration = Duration::from_secs(10);

/// Serves `kubelet.sock`.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) dir: PathBuf,
    pub(super) ledger: Ledger,
}

#[tonic::async_trait]
impl Registration for Registry {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        let outcome = self.accept(&request).await;
        match outcome {
            Ok(()) => Ok(Response::new(Empty {})),
            Err(reason) => {
                self.ledger.note(
                    &request.resource_name,
                    &request.endpoint,
                    Happening::Refused(reason.clone()),
                );
                // A plain Go error is what the kubelet returns: code Unknown.
                Err(Status::unknown(reason))
            }
        }
    }
}

impl Registry {
    async fn accept(&self, request: &RegisterRequest) -> Result<(), String> {
        let (resource, endpoint) = (&request.resource_name, &request.endpoint);
        if let Some(reason) = self.ledger.peek(|view| view.refusal.clone()) {
            return Err(reason);
        }
        if request.version != VERSION {
            return Err(format!("API version {:?} is not supported, only {VERSION:?}", request.version));
        }
        if !resource_name::is_extended(resource) {
            return Err(format!("the resource name {resource:?} is invalid"));
        }
        let channel = dial(&self.dir.join(endpoint)).await?;
        // Asked before Register returns: a plugin that serves only afterwards never registers.
        let answer = DevicePluginClient::new(channel.clone()).get_device_plugin_options(Empty {}).await;
        let options =
            answer.map_err(|status| format!("cannot get the options of {endpoint}: {status}"))?.into_inner();
        let plugin = Plugin {
            endpoint: endpoint.clone(),
            options,
            devices: None,
            in_use: Default::default(),
            channel,
        };
        self.follow(resource.clone(), plugin);
        Ok(())
    }

    fn follow(&self, resource: String, plugin: Plugin) {
        let (ledger, channel, endpoint) =
            (self.ledger.clone(), plugin.channel.clone(), plugin.endpoint.clone());
        self.ledger.note(&resource, &endpoint, Happening::Registered);
        self.ledger.with(|view| view.plugins.insert(resource.clone(), plugin));
        let stream = tokio::spawn(async move {
            listen(&ledger, &resource, &endpoint, channel).await;
            ledger.note(&resource, &endpoint, Happening::StreamEnded);
            ledger.with(|view| {
                // Only its own registration: a newer one may have taken its place.
                let current = view.plugins.get_mut(&resource).filter(|plugin| plugin.endpoint == endpoint);
                if let Some(plugin) = current {
                    plugin.devices = None;
                }
            });
        });
        self.ledger.with(|view| view.streams.push(stream));
    }
}

async fn listen(ledger: &Ledger, resource: &str, endpoint: &str, channel: Channel) {
    let Ok(answer) = DevicePluginClient::new(channel).list_and_watch(Empty {}).await else { return };
    let mut lists = answer.into_inner();
    while let Ok(Some(list)) = lists.message().await {
        ledger.with(|view| {
            if let Some(plugin) = view.plugins.get_mut(resource).filter(|plugin| plugin.endpoint == endpoint)
            {
                plugin.devices = Some(list.devices.clone());
            }
        });
        ledger.note(resource, endpoint, Happening::Listed(list.devices));
    }
}

/// Connects as the kubelet does: at once or not at all, with `localhost` as authority.
pub(super) async fn dial(socket: &Path) -> Result<Channel, String> {
    let failed = |error: &dyn std::fmt::Debug| format!("failed to dial device plugin: {error:?}");
    let target = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(|e| failed(&e))?;
    let target = target.origin("http://localhost".parse().expect("a URI")).connect_timeout(DIAL);
    target.connect().await.map_err(|error| failed(&error))
}
