//! Telling the kubelet of a resource by a call to its own socket.

use std::time::Duration;

use tonic::transport::Endpoint as Target;
use tripod_proto::deviceplugin::v1beta1::registration_client::RegistrationClient;
use tripod_proto::deviceplugin::v1beta1::{DevicePluginOptions, RegisterRequest};

use crate::config::resource_name::ResourceName;

/// The kubelet itself gives the back-dial 10 s.
const REGISTER: Duration = Duration::from_secs(15);

/// Why the kubelet does not know the resource.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    #[error("cannot connect to {socket}")]
    Connect { socket: String, source: tonic::transport::Error },
    #[error("the kubelet refuses: {0}")]
    Refused(String),
    #[error("the kubelet does not answer within {REGISTER:?}")]
    Deadline,
}

/// Tells the kubelet on `socket` that `endpoint`, a file name, serves `resource`, with these `options`.
pub(super) async fn announce(
    socket: String,
    endpoint: String,
    resource: &ResourceName,
    options: DevicePluginOptions,
) -> Result<(), RegisterError> {
    let connect_failed = |source| RegisterError::Connect { socket: socket.clone(), source };
    let target = Target::from_shared(format!("unix:{socket}")).map_err(connect_failed)?;
    let attempt = async {
        let channel = target.connect().await.map_err(connect_failed)?;
        let request = RegisterRequest {
            version: "v1beta1".to_owned(),
            endpoint,
            resource_name: resource.to_string(),
            options: Some(options),
        };
        let answer = RegistrationClient::new(channel).register(request).await;
        answer.map(drop).map_err(|status| RegisterError::Refused(status.message().to_owned()))
    };
    tokio::time::timeout(REGISTER, attempt).await.unwrap_or(Err(RegisterError::Deadline))
}
