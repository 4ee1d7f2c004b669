//! The kubelet's answers to who asks what containers hold.

use std::path::Path;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};
use tripod_proto::podresources::v1::pod_resources_lister_server::{
    PodResourcesLister, PodResourcesListerServer,
};
use tripod_proto::podresources::v1::{
    AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices, ContainerResources,
    GetPodResourcesRequest, GetPodResourcesResponse, ListPodResourcesRequest, ListPodResourcesResponse,
    PodResources,
};

use super::Kubelet;
use super::ledger::{Ledger, View};

impl Kubelet {
    /// Answers on `socket`, whose folder is made, for as long as the runtime lives.
    pub fn serve_podresources(&self, socket: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(socket.parent().expect("a folder"))?;
        let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
        let service = PodResourcesListerServer::new(Lister(self.ledger.clone()));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(())
    }
}

struct Lister(Ledger);

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let pod_resources = self.0.with(|view| {
            view.inquiries += 1;
            pods(view)
        });
        Ok(Response::new(ListPodResourcesResponse { pod_resources }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<AllocatableResourcesRequest>,
    ) -> Result<Response<AllocatableResourcesResponse>, Status> {
        let devices = self.0.peek(allocatable);
        Ok(Response::new(AllocatableResourcesResponse { devices, ..Default::default() }))
    }

    async fn get(
        &self,
        request: Request<GetPodResourcesRequest>,
    ) -> Result<Response<GetPodResourcesResponse>, Status> {
        let name = request.into_inner().pod_name;
        let pod = self.0.peek(pods).into_iter().find(|pod| pod.name == name);
        let pod = pod.ok_or_else(|| Status::unknown(format!("pod {name} not found")))?;
        Ok(Response::new(GetPodResourcesResponse { pod_resources: Some(pod) }))
    }
}

fn pods(view: &View) -> Vec<PodResources> {
    let pod = |admission: &super::Admission| {
        let devices = admission.ids.iter().map(|id| devices(&admission.resource, id)).collect();
        let container = ContainerResources { name: "main".to_owned(), devices, ..Default::default() };
        let name = admission.container.clone();
        PodResources {
            name,
            namespace: "default".to_owned(),
            containers: vec![container],
            ..Default::default()
        }
    };
    view.admissions.iter().map(pod).collect()
}

fn allocatable(view: &View) -> Vec<ContainerDevices> {
    let healthy = view.known.iter().flat_map(|(resource, listed)| {
        let healthy = listed.iter().filter(|device| device.health == "Healthy");
        healthy.map(move |device| devices(resource, &device.id))
    });
    healthy.collect()
}

/// The kubelet names each device in a message of its own.
fn devices(resource: &str, id: &str) -> ContainerDevices {
    ContainerDevices { resource_name: resource.to_owned(), device_ids: vec![id.to_owned()], topology: None }
}
