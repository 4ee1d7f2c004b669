//! Giving devices to containers, in the kubelet's order of calls.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tonic::{Status, Streaming};
use tripod_proto::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, ContainerAllocateRequest, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, Empty, ListAndWatchResponse, PreStartContainerRequest,
    PreferredAllocationRequest,
};

use super::ledger::View;
use super::{Admission, Kubelet, checkpoint};

static NAMES: AtomicU64 = AtomicU64::new(0);

impl Kubelet {
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
        let response = answer.container_responses.remove(0);
        let container = format!("container-{}", NAMES.fetch_add(1, Ordering::Relaxed));
        let admission = Admission { container, resource: resource.to_owned(), ids, response };
        self.ledger.with(|view| view.admissions.push(admission.clone()));
        self.keep()?;
        Ok(admission)
    }

    /// What a container that has been admitted gets when it is created once more: what it got the first
    /// time, and Allocate is not called. Of one that was not `running` when the kubelet started, as after a
    /// reboot, the devices must be there and healthy.
    pub fn admit_again(&self, container: &str, running: bool) -> anyhow::Result<ContainerAllocateResponse> {
        self.look(|view| {
            let held = view.admissions.iter().find(|admission| admission.container == container);
            let held = held.with_context(|| format!("{container} was never admitted"))?;
            if !running {
                still_healthy(view, held)?;
            }
            Ok(held.response.clone())
        })
    }

    /// Starts a container that has been admitted, or starts it again: before each start a plugin that wants
    /// it is asked to make the devices ready.
    pub async fn start_container(&self, container: &str) -> Result<(), Status> {
        let (resource, devices_ids, options) = self
            .look(|view| {
                let held = view.admissions.iter().find(|admission| admission.container == container)?;
                let options = view.plugins.get(&held.resource).map(|plugin| plugin.options);
                Some((held.resource.clone(), held.ids.clone(), options))
            })
            .ok_or_else(|| Status::not_found(format!("{container} was never admitted")))?;
        if options.is_some_and(|options| options.pre_start_required) {
            let mut client = self.client(&resource).map_err(|error| Status::not_found(error.to_string()))?;
            client.pre_start_container(PreStartContainerRequest { devices_ids }).await?;
        }
        Ok(())
    }

    /// The container has ended, and what it held is free.
    pub fn release(&self, container: &str) -> anyhow::Result<()> {
        self.ledger.with(|view| view.admissions.retain(|admission| admission.container != container));
        self.keep()
    }

    fn keep(&self) -> anyhow::Result<()> {
        self.look(|view| checkpoint::write(&self.dir, view))
    }

    fn client(&self, resource: &str) -> anyhow::Result<DevicePluginClient<tonic::transport::Channel>> {
        let channel = self.look(|view| view.plugins.get(resource).map(|plugin| plugin.channel.clone()));
        let channel = channel.with_context(|| format!("{resource} is not registered"))?;
        let channel = channel.with_context(|| format!("the endpoint of {resource} has been stopped"))?;
        Ok(DevicePluginClient::new(channel))
    }
}

fn free_devices(view: &View, resource: &str) -> Vec<String> {
    let Some(plugin) = view.plugins.get(resource) else { return Vec::new() };
    let in_use = view.in_use(resource);
    let healthy = plugin.devices.iter().flatten().filter(|device| device.health == "Healthy");
    healthy.map(|device| device.id.clone()).filter(|id| !in_use.contains(id.as_str())).collect()
}

fn still_healthy(view: &View, held: &Admission) -> anyhow::Result<()> {
    let resource = &held.resource;
    let known = view.known.get(resource);
    let known = known.with_context(|| format!("cannot allocate unregistered device {resource}"))?;
    let healthy = known.iter().filter(|device| device.health == "Healthy");
    let healthy: BTreeSet<_> = healthy.map(|device| &device.id).collect();
    anyhow::ensure!(
        !healthy.is_empty(),
        "no healthy devices present; cannot allocate unhealthy devices {resource}"
    );
    anyhow::ensure!(
        held.ids.iter().all(|id| healthy.contains(id)),
        "previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
    );
    Ok(())
}
