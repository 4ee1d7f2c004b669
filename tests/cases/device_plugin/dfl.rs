//! Kind `dfl`, on a made `/sys` of the kernel's driver and of OPAE's.

use super::*;

const AFS: &str = "version: v1\nresources: [{name: 'fpga.intel.com/af-{uuid}', match: {kind: dfl}}]\n";
const REGIONS: &str =
    "version: v1\nresources: [{name: 'fpga.intel.com/region-{uuid}', match: {kind: dfl, mode: region}}]\n";
const CARD: &str = "sys/class/fpga_region/region0";
const INTERFACE: &str = "69528db6eb31577a8c3668f9faa081f6";
const LOOPBACK: &str = "d8424dc4a4a3c413f89e433683f9040b";
const FFT: &str = "f7df405cbd7acf7222f144b0b93acd18";
const ONES: &str = "ffffffffffffffffffffffffffffffff";

fn pci(node: &Node, card: &str, address: &str) {
    for (name, text) in [("vendor", "0x8086"), ("device", "0x09c4"), ("numa_node", "1")] {
        node.write(&format!("sys/bus/pci/devices/{address}/{name}"), &format!("{text}\n"));
    }
    node.link(&format!("{card}/device"), &format!("../../../bus/pci/devices/{address}"));
}

/// A port as the kernel shows it (Documentation/ABI/testing/sysfs-platform-dfl-port).
fn port(node: &Node, card: &str, number: u32, afu: &str) {
    let folder = format!("{card}/dfl-port.{number}");
    node.write(&format!("{folder}/id"), &format!("{number}\n"));
    node.write(&format!("{folder}/afu_id"), &format!("{afu}\n"));
    node.add_device(&format!("dfl-port.{number}"), 10 + u64::from(number));
}

/// A card with two ports. Its regions are listed in the class beside it.
pub(super) fn host(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    node.write("sys/devices/system/node/node1/cpulist", "8-15\n");
    pci(&node, CARD, "0000:5e:00.0");
    port(&node, CARD, 0, LOOPBACK);
    port(&node, CARD, 1, FFT);
    let compat =
        |region| format!("{CARD}/dfl-fme.0/dfl-fme-region.{region}/fpga_region/region{region}/compat_id");
    for region in [2, 3] {
        node.write(&compat(region), &format!("{INTERFACE}\n"));
        node.write(&format!("sys/class/fpga_region/region{region}/compat_id"), &format!("{INTERFACE}\n"));
    }
    node.add_device("dfl-fme.0", 9);
    Some(node)
}

fn seen(devices: &[serde_json::Value]) -> serde_json::Value {
    let rows: Vec<_> =
        devices.iter().map(|d| [&d["resource"], &d["id"], &d["health"], &d["nodes"]]).collect();
    serde_json::json!(rows)
}

#[tokio::test]
async fn each_function_of_a_region_is_offered_by_its_id() {
    let Some(node) = host(AFS) else { return };
    let (loopback, fft) = (format!("fpga.intel.com/af-{LOOPBACK}"), format!("fpga.intel.com/af-{FFT}"));
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    for (resource, number) in [(&loopback, 0), (&fft, 1)] {
        let list = kubelet.until_allocatable(resource, 1).await.unwrap();
        let id = format!("0000:5e:00.0-port{number}");
        assert_eq!(ids(&list), [id.as_str()]);
        assert_eq!(list[0].topology.as_ref().unwrap().nodes[0].id, 1);
        let given = kubelet.allocate(resource, &[&id]).await.unwrap();
        let paths: Vec<_> =
            given.container_responses[0].devices.iter().map(|d| d.host_path.as_str()).collect();
        assert_eq!(paths, [format!("/dev/dfl-port.{number}")]);
    }
    node.remove_device("dfl-port.1");
    kubelet.until_allocatable(&fft, 0).await.unwrap();
    node.add_device("dfl-port.1", 11);
    kubelet.until_allocatable(&fft, 1).await.unwrap();
    // Somebody programs another function into it.
    node.write(&format!("{CARD}/dfl-port.1/afu_id"), LOOPBACK);
    node.add_device("dfl-port.7", 99);
    kubelet.until_allocatable(&loopback, 2).await.unwrap();
    let list = kubelet.until_allocatable(&fft, 0).await.unwrap();
    assert_eq!(list[0].health, "Unhealthy");
}

#[tokio::test]
async fn a_region_comes_with_its_engine_and_all_ports() {
    let Some(node) = host(REGIONS) else { return };
    let (devices, log) = node.discover();
    let expected = serde_json::json!({
        "id": "0000:5e:00.0-fme", "resource": format!("fpga.intel.com/region-{INTERFACE}"), "kind": "dfl",
        "vendor": "8086", "model": "09c4", "numa": 1, "memory": null, "parent": null, "health": "Healthy",
        "nodes": ["/dev/dfl-fme.0", "/dev/dfl-port.0", "/dev/dfl-port.1"], "links": {},
    });
    assert_eq!(devices, [expected]);
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn functions_and_regions_are_the_same_hardware() {
    let rules = "version: v1\nresources:\n\
        - {name: example.com/af, match: {kind: dfl}}\n\
        - {name: example.com/region, match: {kind: dfl, mode: region}}\n";
    let Some(node) = host(rules) else { return };
    let (devices, log) = node.discover();
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert!(log.contains("/dev/dfl-port.0 belongs to example.com/af already"), "{log}");
}

#[tokio::test]
async fn the_older_driver_is_understood_too() {
    let Some(node) = Node::new(AFS) else { return };
    let card = "sys/class/fpga/intel-fpga-dev.0";
    pci(&node, card, "0000:3b:00.0");
    node.write(&format!("{card}/intel-fpga-port.0/id"), "0\n");
    node.write(&format!("{card}/intel-fpga-port.0/afu_id"), &format!("{LOOPBACK}\n"));
    node.write(&format!("{card}/intel-fpga-fme.0/pr/interface_id"), &format!("{INTERFACE}\n"));
    node.add_device("intel-fpga-port.0", 3);
    node.add_device("intel-fpga-fme.0", 5);
    let resource = format!("fpga.intel.com/af-{LOOPBACK}");
    let expected = [[resource.as_str(), "0000:3b:00.0-port0", "Healthy"]];
    let (devices, _) = node.discover();
    let row = seen(&devices)[0].as_array().unwrap()[..3].to_vec();
    assert_eq!(serde_json::json!([row]), serde_json::json!(expected));
    node.configure(REGIONS);
    let (devices, log) = node.discover();
    assert_eq!(devices[0]["resource"], format!("fpga.intel.com/region-{INTERFACE}"), "{log}");
    assert_eq!(devices[0]["nodes"], serde_json::json!(["/dev/intel-fpga-fme.0", "/dev/intel-fpga-port.0"]));
}

#[tokio::test]
async fn an_id_that_cannot_be_read_is_unhealthy_and_never_a_name() {
    let Some(node) = host("version: v1\nresources: [{name: example.com/af, match: {kind: dfl}}]\n") else {
        return;
    };
    node.write(&format!("{CARD}/dfl-port.0/afu_id"), &format!("{ONES}\n"));
    port(&node, CARD, 2, "");
    port(&node, CARD, 3, "not/an id");
    let device = node.root().join(CARD).join("dfl-port.4/afu_id");
    std::fs::create_dir_all(device).unwrap();
    node.add_device("dfl-port.4", 14);
    let (devices, log) = node.discover();
    let health = |port: u32, health: &str| {
        let id = if port == 4 { "dfl-port.4".to_owned() } else { format!("0000:5e:00.0-port{port}") };
        serde_json::json!(["example.com/af", id, health, [format!("/dev/dfl-port.{port}")]])
    };
    let expected: Vec<_> =
        [(0, "Unhealthy"), (1, "Healthy"), (2, "Unhealthy"), (3, "Unhealthy"), (4, "Unhealthy")]
            .map(|(port, state)| health(port, state))
            .into();
    assert_eq!(seen(&devices), serde_json::json!(expected));
    for told in [
        "dfl-port.0/afu_id says \\\"ffffffffffffffffffffffffffffffff\\\": the FPGA does not answer; reset the card",
        "dfl-port.2/afu_id says nothing: program the FPGA, or reload its driver",
        "dfl-port.3/afu_id says \\\"not/an id\\\", no id of 32 hexadecimal digits: reload its driver",
        "cannot read /sys/class/fpga_region/region0/dfl-port.4/afu_id",
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
    node.configure(AFS);
    let (devices, log) = node.discover();
    assert_eq!(devices.len(), 1, "{devices:?}");
    assert!(log.contains("0000:5e:00.0-port2 cannot be named: its uuid is not known"), "{log}");
}

#[tokio::test]
async fn an_interface_without_id_ends_nothing() {
    let Some(node) = host(REGIONS) else { return };
    for region in [2, 3] {
        let path = format!("{CARD}/dfl-fme.0/dfl-fme-region.{region}/fpga_region/region{region}/compat_id");
        node.write(&path, "\n");
    }
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    plugin.until_logged("0000:5e:00.0-fme cannot be named: its uuid is not known").await;
    plugin.until_logged("compat_id says nothing").await;
    node.write(&format!("{CARD}/dfl-fme.0/dfl-fme-region.2/fpga_region/region2/compat_id"), INTERFACE);
    node.add_device("dfl-port.7", 99);
    kubelet.until_allocatable(&format!("fpga.intel.com/region-{INTERFACE}"), 1).await.unwrap();
}

#[tokio::test]
async fn nodes_without_any_are_silent() {
    let Some(node) = Node::new(AFS) else { return };
    node.write("sys/class/fpga_region/region0/compat_id", "");
    assert_eq!(node.discover(), (Vec::new(), String::new()));
}
