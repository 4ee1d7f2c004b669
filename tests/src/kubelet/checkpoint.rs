//! The file in which a kubelet keeps what it gave to containers, in the kubelet's form.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message;
use serde_json::{Value, json};
use tripod_proto::deviceplugin::v1beta1::ContainerAllocateResponse;

use super::Admission;
use super::ledger::View;

pub(super) const FILE: &str = "kubelet_internal_checkpoint";
/// Stands for "no NUMA node" in the kubelet's file.
const NO_NODE: &str = "-1";

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) admissions: Vec<Admission>,
    pub(super) resources: Vec<String>,
}

/// Writes what `view` holds into the device plugin directory `dir`.
pub(super) fn write(dir: &Path, view: &View) -> anyhow::Result<()> {
    let entry = |admission: &Admission| {
        json!({
            "PodUID": admission.container,
            "ContainerName": "main",
            "ResourceName": admission.resource,
            "DeviceIDs": {NO_NODE: admission.ids},
            "AllocResp": BASE64.encode(admission.response.encode_to_vec()),
        })
    };
    let registered: serde_json::Map<_, _> = view
        .known
        .iter()
        .map(|(resource, devices)| {
            let healthy = devices.iter().filter(|device| device.health == "Healthy");
            (resource.clone(), healthy.map(|device| Value::from(device.id.clone())).collect())
        })
        .collect();
    let entries: Vec<_> = view.admissions.iter().map(entry).collect();
    let document = json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}});
    let next = dir.join(format!("{FILE}.next"));
    std::fs::write(&next, document.to_string())?;
    Ok(std::fs::rename(next, dir.join(FILE))?)
}

/// Reads the file in `dir`; one that is not there says nothing.
pub(super) fn read(dir: &Path) -> anyhow::Result<Checkpoint> {
    let Ok(text) = std::fs::read_to_string(dir.join(FILE)) else { return Ok(Checkpoint::default()) };
    let document: Value = serde_json::from_str(&text)?;
    let entries = document["Data"]["PodDeviceEntries"].as_array().context("no entries")?;
    let registered = document["Data"]["RegisteredDevices"].as_object().context("no resources")?;
    let admissions = entries.iter().map(admission).collect::<anyhow::Result<_>>()?;
    Ok(Checkpoint { admissions, resources: registered.keys().cloned().collect() })
}

fn admission(entry: &Value) -> anyhow::Result<Admission> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
    let ids = entry["DeviceIDs"][NO_NODE].as_array().context("no DeviceIDs")?;
    Ok(Admission {
        container: text("PodUID")?,
        resource: text("ResourceName")?,
        ids: ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect(),
        response: ContainerAllocateResponse::decode(BASE64.decode(text("AllocResp")?)?.as_slice())?,
    })
}
