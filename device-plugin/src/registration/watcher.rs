//! Being found by the kubelet's plugin watcher: it looks for sockets in a folder of its own and asks each
//! what it is. The same socket serves the devices.

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tripod_proto::pluginregistration::v1::registration_server::{Registration, RegistrationServer};
use tripod_proto::pluginregistration::v1::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};

use crate::config::resource_name::ResourceName;

/// What the kubelet has said of a registration, once it has.
pub(super) type Verdict = Option<Result<(), String>>;

/// Tells a kubelet what a socket is.
#[derive(Debug)]
pub(super) struct Introduction {
    resource: ResourceName,
    socket: String,
    verdict: watch::Sender<Verdict>,
}

impl Introduction {
    /// The service that says that `socket` serves `resource`, and passes on what the kubelet makes of it.
    pub(super) fn server(
        resource: ResourceName,
        socket: String,
        verdict: watch::Sender<Verdict>,
    ) -> RegistrationServer<Introduction> {
        RegistrationServer::new(Introduction { resource, socket, verdict })
    }
}

#[tonic::async_trait]
impl Registration for Introduction {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "DevicePlugin".to_owned(),
            name: self.resource.to_string(),
            endpoint: self.socket.clone(),
            supported_versions: vec!["v1beta1".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        self.verdict.send_replace(Some(if plugin_registered { Ok(()) } else { Err(error) }));
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::registration::authority::tests::from_go;
    use crate::registration::line::Lines;

    /// How a kubelet says goodbye: a GOAWAY frame, its error code and its text.
    const GOODBYE: usize = 9 + 33;
    /// RST_STREAM of the first request: PROTOCOL_ERROR.
    const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1];

    /// Lets a kubelet's calls arrive on a line; returns its end, and what the service hears.
    async fn call(rewrite: bool) -> (UnixStream, watch::Receiver<Verdict>) {
        let (sender, verdict) = watch::channel(None);
        let resource = ResourceName::parse("a/b").unwrap();
        let service = Introduction::server(resource, "/x".to_owned(), sender);
        let (ours, mut kubelet) = UnixStream::pair().unwrap();
        let line = Lines::new(rewrite).add(ours).unwrap();
        let incoming = tokio_stream::iter([Ok::<_, std::io::Error>(line)]);
        let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        tokio::spawn(server);
        let sent = from_go();
        kubelet.write_all(&sent[..sent.len() - GOODBYE]).await.unwrap();
        (kubelet, verdict)
    }

    #[tokio::test]
    async fn a_kubelets_calls_are_understood() {
        let (_kubelet, mut verdict) = call(true).await;
        assert_eq!(*verdict.wait_for(Option::is_some).await.unwrap(), Some(Ok(())));
    }

    #[tokio::test]
    async fn without_another_authority_they_would_be_refused() {
        let (mut kubelet, _verdict) = call(false).await;
        let mut answer = Vec::new();
        while !answer.windows(RESET.len()).any(|bytes| bytes == RESET) {
            assert_ne!(kubelet.read_buf(&mut answer).await.unwrap(), 0, "{answer:x?}");
        }
    }
}
