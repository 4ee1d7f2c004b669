//! Kind `intel-gpu`, on a made `/sys`: cards of both drivers, virtual functions, udev's links.

use super::*;

const GPU: &str = "gpu.intel.com/gpu";
pub(super) const GPUS: &str =
    "version: v1\nresources: [{name: gpu.intel.com/gpu, match: {kind: intel-gpu}}]\n";
const BY_MODEL: &str =
    "version: v1\nresources: [{name: 'gpu.intel.com/{model}', match: {kind: intel-gpu}}]\n";
const FLEX: &str = "0000:3a:00.0";
pub(super) const BATTLEMAGE: &str = "0000:9a:00.0";

fn folder(address: &str) -> String {
    format!("sys/bus/pci/devices/{address}")
}

/// A card as its driver shows it, with nodes `card<minor>` and `renderD<128 + minor>` and udev's links to them.
fn card(node: &Node, address: &str, [device, driver]: [&str; 2], minor: u64) {
    let folder = folder(address);
    for (name, text) in [("vendor", "0x8086"), ("device", device), ("class", "0x030000"), ("numa_node", "1")]
    {
        node.write(&format!("{folder}/{name}"), &format!("{text}\n"));
    }
    node.link(&format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
    let names = [(format!("card{minor}"), "card"), (format!("renderD{}", 128 + minor), "render")];
    for (number, (name, what)) in names.into_iter().enumerate() {
        node.write(&format!("{folder}/drm/{name}/dev"), "226:0\n");
        node.add_device(&format!("dri/{name}"), 20 + 2 * minor + number as u64);
        node.link(&format!("dev/dri/by-path/pci-{address}-{what}"), &format!("../{name}"));
    }
}

/// A card of each driver, and the display of the board's own controller.
pub(super) fn host(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    node.write("sys/devices/system/node/node1/cpulist", "8-15\n");
    card(&node, FLEX, ["0x56c0", "i915"], 0);
    node.write(&format!("{}/drm/card0/lmem_total_bytes", folder(FLEX)), "17179869184\n");
    card(&node, BATTLEMAGE, ["0xe2ff", "xe"], 1);
    for tile in 0..2 {
        let path = format!("{}/tile{tile}/physical_vram_size_bytes", folder(BATTLEMAGE));
        node.write(&path, "8589934592\n");
    }
    card(&node, "0000:02:00.0", ["0x0536", "mgag200"], 2);
    Some(node)
}

#[tokio::test]
async fn a_card_comes_with_its_nodes_and_the_links_to_them() {
    let Some(node) = host(GPUS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(GPU, 2).await.unwrap();
    assert_eq!(ids(&list), [FLEX, BATTLEMAGE]);
    assert_eq!(list[0].topology.as_ref().unwrap().nodes[0].id, 1);
    let given = kubelet.allocate(GPU, &[FLEX]).await.unwrap();
    let paths: Vec<_> = given.container_responses[0].devices.iter().map(|d| d.host_path.as_str()).collect();
    let links = ["card", "render"].map(|what| format!("/dev/dri/by-path/pci-{FLEX}-{what}"));
    assert_eq!(paths, [links[0].as_str(), &links[1], "/dev/dri/card0", "/dev/dri/renderD128"]);
    node.remove_device("dri/card0");
    kubelet.until_allocatable(GPU, 1).await.unwrap();
    let refused = kubelet.allocate(GPU, &[FLEX]).await.unwrap_err();
    assert!(refused.message().ends_with("its node /dev/dri/card0 is not there"), "{refused}");
    node.add_device("dri/card0", 20);
    kubelet.until_allocatable(GPU, 2).await.unwrap();
}

#[tokio::test]
async fn memory_and_model_are_those_that_the_driver_tells() {
    let Some(node) = host(BY_MODEL) else { return };
    let (devices, log) = node.discover();
    let expected = serde_json::json!({
        "id": FLEX, "resource": "gpu.intel.com/Data-Center-GPU-Flex-170", "kind": "intel-gpu",
        "vendor": "Intel", "model": "Data Center GPU Flex 170", "numa": 1, "memory": 17_179_869_184_u64,
        "parent": null, "health": "Healthy", "nodes": ["/dev/dri/card0", "/dev/dri/renderD128"], "links": {},
    });
    assert_eq!(devices[0], expected);
    let other = serde_json::json!([devices[1]["resource"], devices[1]["model"], devices[1]["memory"]]);
    assert_eq!(other, serde_json::json!(["gpu.intel.com/e2ff", "e2ff", 17_179_869_184_u64]));
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn a_card_with_virtual_functions_is_not_offered_but_they_are() {
    let Some(node) = host(GPUS) else { return };
    node.write(&format!("{}/sriov_numvfs", folder(FLEX)), "1\n");
    node.write(&format!("{}/sriov_numvfs", folder(BATTLEMAGE)), "0\n");
    card(&node, "0000:3a:00.1", ["0x56c0", "i915"], 3);
    node.link(&format!("{}/physfn", folder("0000:3a:00.1")), &format!("../{FLEX}"));
    let (devices, log) = node.discover();
    let ids: Vec<_> = devices.iter().map(|device| device["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["0000:3a:00.1", BATTLEMAGE]);
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn what_is_malformed_hides_nothing_else() {
    let Some(node) = host(GPUS) else { return };
    node.write(&format!("{}/drm/card0/lmem_total_bytes", folder(FLEX)), "much\n");
    node.write(&format!("{}/sriov_numvfs", folder(FLEX)), "?\n");
    std::fs::remove_dir_all(node.root().join(folder(BATTLEMAGE)).join("drm")).unwrap();
    node.write(&format!("{}/vendor", folder("0000:9b:00.0")), "8086\n");
    // A link that udev has left behind, to what is another card's by now.
    let link = format!("dri/by-path/pci-{FLEX}-render");
    node.remove_device(&link);
    node.link(&format!("dev/{link}"), "../renderD129");
    let (devices, log) = node.discover();
    let seen: Vec<_> = devices.iter().map(|d| [&d["id"], &d["health"]]).collect();
    assert_eq!(serde_json::json!(seen), serde_json::json!([[FLEX, "Healthy"], [BATTLEMAGE, "Unhealthy"]]));
    for told in [
        "card0/lmem_total_bytes says \\\"much\\\", no number: this memory is not counted; reload its driver",
        "sriov_numvfs says \\\"?\\\", no number: 0000:3a:00.0 is offered whole",
        "0000:9b:00.0/vendor is no hexadecimal number",
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 1).await.unwrap();
    let given = kubelet.allocate(GPU, &[FLEX]).await.unwrap();
    assert_eq!(given.container_responses[0].devices.len(), 3, "{given:?}");
}

#[tokio::test]
async fn a_card_that_loses_its_driver_is_unhealthy_and_nodes_without_any_are_silent() {
    let Some(node) = host(GPUS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    std::fs::remove_file(node.root().join(folder(FLEX)).join("driver")).unwrap();
    node.remove_device("dri/card0");
    node.remove_device("dri/renderD128");
    let list = kubelet.until_allocatable(GPU, 1).await.unwrap();
    assert_eq!((ids(&list), list[0].health.as_str()), (vec![FLEX, BATTLEMAGE], "Unhealthy"));
    std::fs::remove_dir_all(node.root().join("sys")).unwrap();
    assert_eq!(node.discover(), (Vec::new(), String::new()));
}
