//! Kind `xrt`, on a made `/sys`: cards with two functions, shells, media accelerators.

use super::*;

pub(super) const CARDS: &str = "version: v1\nresources: [{name: example.com/card, match: {kind: xrt}}]\n";
const BY_SHELL: &str = "version: v1\nresources: [{name: 'amd.com/{model}', match: {kind: xrt}}]\n";
const SHELL: &str = "amd.com/xilinx_u200_xdma_201830_2-1561656294";
const U200: &str = "0000:3b:00.1";

fn folder(address: &str) -> String {
    format!("sys/bus/pci/devices/{address}")
}

fn function(node: &Node, address: &str, [vendor, device, driver]: [&str; 3]) {
    let folder = folder(address);
    for (name, text) in [("vendor", vendor), ("device", device), ("class", "0x120000"), ("numa_node", "0")] {
        node.write(&format!("{folder}/{name}"), &format!("{text}\n"));
    }
    node.link(&format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
}

/// The user function of a card as `xocl` shows it, with the node `renderD<minor>`.
fn user(node: &Node, address: &str, vendor: &str, minor: u64) {
    function(node, address, [vendor, "0x5001", "xocl"]);
    for (name, text) in [
        ("user_pf", ""),
        ("ready", "0x1"),
        ("dev_offline", "0"),
        ("logic_uuids", "862c7020a250293e32036f19956669e5"),
        ("rom.u.12582912/VBNV", "xilinx_u200_xdma_201830_2"),
        ("rom.u.12582912/timestamp", "1561656294"),
    ] {
        node.write(&format!("{}/{name}", folder(address)), &format!("{text}\n"));
    }
    node.write(&format!("{}/drm/renderD{minor}/dev", folder(address)), "226:128\n");
    node.add_device(&format!("dri/renderD{minor}"), minor);
}

/// A card with both functions and a DMA engine, and one of Amazon's, of which a guest sees only one.
pub(super) fn host(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    node.write("sys/devices/system/node/node0/cpulist", "0-7\n");
    function(&node, "0000:3b:00.0", ["0x10ee", "0x5000", "xclmgmt"]);
    node.write(&format!("{}/instance", folder("0000:3b:00.0")), "15104\n");
    node.add_device("xclmgmt15104", 3);
    user(&node, U200, "0x10ee", 128);
    node.write(&format!("{}/dma.qdma.u.4194304/uevent", folder(U200)), "");
    node.add_device("xfpga/dma.qdma.u.15105.0", 5);
    user(&node, "0000:00:1d.0", "0x1d0f", 129);
    Some(node)
}

#[tokio::test]
async fn a_card_comes_without_the_node_that_could_replace_its_shell() {
    let Some(node) = host(BY_SHELL) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(SHELL, 2).await.unwrap();
    assert_eq!(ids(&list), ["0000:00:1d.0", U200]);
    assert_eq!(list[1].topology.as_ref().unwrap().nodes[0].id, 0);
    let given = kubelet.allocate(SHELL, &[U200]).await.unwrap();
    let paths: Vec<_> = given.container_responses[0].devices.iter().map(|d| d.host_path.as_str()).collect();
    assert_eq!(paths, ["/dev/dri/renderD128", "/dev/xfpga/dma.qdma.u.15105.0"]);
    node.remove_device("dri/renderD129");
    kubelet.until_allocatable(SHELL, 1).await.unwrap();
    let refused = kubelet.allocate(SHELL, &["0000:00:1d.0"]).await.unwrap_err();
    assert!(refused.message().ends_with("its node /dev/dri/renderD129 is not there"), "{refused}");
    node.add_device("dri/renderD129", 129);
    kubelet.until_allocatable(SHELL, 2).await.unwrap();
}

#[tokio::test]
async fn a_card_that_its_driver_has_lost_or_not_set_up_is_unhealthy_alone() {
    let Some(node) = host(CARDS) else { return };
    user(&node, "0000:5e:00.1", "0x10ee", 130);
    let health = |node: &Node| node.discover().0.iter().map(|d| d["health"].to_string()).collect::<Vec<_>>();
    assert_eq!(health(&node), ["\"Healthy\"", "\"Healthy\"", "\"Healthy\""]);
    for (name, bad, good) in [("ready", "0x0", "0x1"), ("dev_offline", "1", "0")] {
        node.write(&format!("{}/{name}", folder(U200)), bad);
        assert_eq!(health(&node), ["\"Healthy\"", "\"Unhealthy\"", "\"Healthy\""], "{name}");
        node.write(&format!("{}/{name}", folder(U200)), good);
    }
    std::fs::remove_dir_all(node.root().join(folder(U200)).join("rom.u.12582912")).unwrap();
    assert_eq!(health(&node), ["\"Healthy\"", "\"Unhealthy\"", "\"Healthy\""]);
}

#[tokio::test]
async fn what_is_malformed_hides_nothing_else() {
    let Some(node) = host(BY_SHELL) else { return };
    // AMD's own plugin ends at a name without `_`, and at a UUID of less than six characters.
    user(&node, "0000:5e:00.1", "0x13fe", 130);
    let odd = folder("0000:5e:00.1");
    node.write(&format!("{odd}/rom.u.12582912/VBNV"), "golden\n");
    node.write(&format!("{odd}/logic_uuids"), "x\n");
    node.write(&format!("{odd}/ready"), "perhaps\n");
    user(&node, "0000:5f:00.1", "0x3475", 131);
    let unnamed = folder("0000:5f:00.1");
    std::fs::remove_file(node.root().join(&unnamed).join("rom.u.12582912/VBNV")).unwrap();
    std::fs::create_dir(node.root().join(&unnamed).join("rom.u.12582912/VBNV")).unwrap();
    function(&node, "0000:60:00.0", ["0x10ee", "0x5000", "xclmgmt"]);
    let (devices, log) = node.discover();
    let seen: Vec<_> = devices.iter().map(|d| [&d["resource"], &d["id"], &d["health"]]).collect();
    let expected = [
        ["amd.com/golden-1561656294", "0000:5e:00.1", "Healthy"],
        [SHELL, "0000:00:1d.0", "Healthy"],
        [SHELL, U200, "Healthy"],
    ];
    assert_eq!(serde_json::json!(seen), serde_json::json!(expected));
    for told in [
        "0000:5e:00.1/ready says \\\"perhaps\\\", no flag: its state is not observed; reload xocl",
        "cannot read /sys/bus/pci/devices/0000:5f:00.1/rom.u.12582912/VBNV",
        "0000:5f:00.1 cannot be named: its model is not known",
        "the card at 0000:60:00 has a function for management but none for users",
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
}

#[tokio::test]
async fn media_accelerators_are_found_by_their_own_driver() {
    let Some(node) = host(BY_SHELL) else { return };
    let class = "sys/class/misc";
    function(&node, "0000:c1:00.0", ["0x10ee", "0x5070", "ama_transcoder"]);
    node.write(&format!("{class}/ama_transcoder0/bus_id"), "0000:c1:00.0\n");
    let info = "PCIe device ID = 0x5070\nProduct name = ALVEO MA35D\nProduct serial number = X1\n";
    node.write(&format!("{class}/ama_transcoder0/device_info"), info);
    node.write(&format!("{class}/ama_transcoder1/bus_id"), "../../x\n");
    node.write(&format!("{class}/ama_transcoder1/device_info"), "Product name = ALVEO MA35D\n");
    // What claims to be in another card's place is not offered beside it.
    node.write(&format!("{class}/ama_transcoder2/bus_id"), &format!("{U200}\n"));
    node.write(&format!("{class}/ama_transcoder2/device_info"), "Product name = ALVEO MA35D\n");
    node.add_device("ama_transcoder0", 7);
    let (devices, log) = node.discover();
    let seen = devices.iter().map(|d| [&d["resource"], &d["id"], &d["health"], &d["numa"]]);
    let expected = serde_json::json!([
        ["amd.com/ALVEO-MA35D", "0000:c1:00.0", "Healthy", 0],
        ["amd.com/ALVEO-MA35D", "ama_transcoder1", "Unhealthy", null],
        [SHELL, "0000:00:1d.0", "Healthy", 0],
        [SHELL, U200, "Healthy", 0],
    ]);
    assert_eq!(serde_json::json!(seen.collect::<Vec<_>>()), expected);
    assert!(log.contains("ama_transcoder1/bus_id says \\\"../../x\\\", no PCI address"), "{log}");
}

#[tokio::test]
async fn nodes_without_any_are_silent() {
    let Some(node) = Node::new(CARDS) else { return };
    function(&node, "0000:01:00.0", ["0x10ee", "0x7021", "vendors-own"]);
    node.write("sys/class/misc/rtc/dev", "10:135");
    assert_eq!(node.discover(), (Vec::new(), String::new()));
}
