//! Kind `fpga-manager`, on a made `/sys/class/fpga_manager`.

use super::*;

const FPGA: &str = "example.com/fpga";
pub(super) const CONFIG: &str =
    "version: v1\nresources: [{name: example.com/fpga, match: {kind: fpga-manager}}]\n";
const BY_MODEL: &str =
    "version: v1\nresources: [{name: 'example.com/{model}', match: {kind: fpga-manager}}]\n";

fn folder(number: u32) -> String {
    format!("sys/class/fpga_manager/fpga{number}")
}

/// Name and state in the words of the kernel's drivers.
fn fpga(node: &Node, number: u32, [name, state]: [&str; 2]) {
    node.write(&format!("{}/name", folder(number)), &format!("{name}\n"));
    node.write(&format!("{}/state", folder(number)), &format!("{state}\n"));
}

pub(super) fn host(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    node.write("sys/devices/system/node/node0/cpulist", "0-3\n");
    fpga(&node, 0, ["Xilinx ZynqMP FPGA Manager", "operating"]);
    node.write(&format!("{}/device/numa_node", folder(0)), "0\n");
    node.write(&format!("{}/device/uio/uio4/name", folder(0)), "dma-proxy\n");
    node.add_device("uio4", 4);
    fpga(&node, 1, ["Altera SOCFPGA FPGA Manager", "unknown"]);
    node.add_device("fpga1", 5);
    Some(node)
}

#[tokio::test]
async fn an_fpga_comes_with_its_nodes_while_its_state_is_good() {
    let Some(node) = host(CONFIG) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(FPGA, 2).await.unwrap();
    assert_eq!(ids(&list), ["fpga0", "fpga1"]);
    for (id, path) in [("fpga0", "/dev/uio4"), ("fpga1", "/dev/fpga1")] {
        let given = kubelet.allocate(FPGA, &[id]).await.unwrap();
        assert_eq!(given.container_responses[0].devices[0].host_path, path);
    }
    node.remove_device("uio4");
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    node.add_device("uio4", 4);
    kubelet.until_allocatable(FPGA, 2).await.unwrap();
    fpga(&node, 1, ["Altera SOCFPGA FPGA Manager", "write error"]);
    node.add_device("uio5", 6);
    let list = kubelet.until_allocatable(FPGA, 1).await.unwrap();
    assert_eq!((list[0].health.as_str(), list[1].health.as_str()), ("Healthy", "Unhealthy"));
    let refused = kubelet.allocate(FPGA, &["fpga1"]).await.unwrap_err();
    assert!(refused.message().contains("fpga1/state says \"write error\": program it again"), "{refused}");
}

#[tokio::test]
async fn only_what_works_is_healthy_and_what_has_no_node_is_told() {
    let Some(node) = host(BY_MODEL) else { return };
    for (number, state) in [(2, "firmware request error"), (3, "write complete"), (4, "power off")] {
        fpga(&node, number, ["Lattice iCE40", state]);
        node.add_device(&format!("fpga{number}"), 10 + u64::from(number));
    }
    fpga(&node, 5, ["DFL FPGA Manager", "operating"]);
    node.write("sys/class/fpga_manager/version", "1");
    node.write("sys/class/fpga_manager/fpga01/name", "a second fpga1");
    std::fs::create_dir_all(node.root().join(folder(6)).join("name")).unwrap();
    node.add_device("fpga6", 16);
    let (devices, log) = node.discover();
    let seen: Vec<_> = devices.iter().map(|d| [&d["resource"], &d["id"], &d["health"], &d["numa"]]).collect();
    let expected = serde_json::json!([
        ["example.com/Altera-SOCFPGA-FPGA-Manager", "fpga1", "Healthy", null],
        ["example.com/Lattice-iCE40", "fpga2", "Unhealthy", null],
        ["example.com/Lattice-iCE40", "fpga3", "Unhealthy", null],
        ["example.com/Lattice-iCE40", "fpga4", "Unhealthy", null],
        ["example.com/Xilinx-ZynqMP-FPGA-Manager", "fpga0", "Healthy", 0],
    ]);
    assert_eq!(serde_json::json!(seen), expected);
    for told in [
        "fpga5 has neither a node /dev/fpga5 nor one of UIO",
        "cannot read /sys/class/fpga_manager/fpga6/name",
        "fpga6 cannot be named: its model is not known",
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
}

#[tokio::test]
async fn nodes_without_any_are_silent() {
    let Some(node) = Node::new(CONFIG) else { return };
    assert_eq!(node.discover(), (Vec::new(), String::new()));
}
