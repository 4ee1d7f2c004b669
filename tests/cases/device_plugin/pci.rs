//! Kind `pci`, on a made `/sys/bus/pci`: a card with virtual functions, functions bound to `vfio-pci`, RDMA.

use super::*;

const CARD: &str = "0000:3b:00.0";

/// A PCI function as the kernel shows it.
fn function(node: &Node, address: &str, [vendor, device, class]: [&str; 3], driver: &str) {
    let folder = folder(address);
    for (name, text) in [("vendor", vendor), ("device", device), ("class", class), ("numa_node", "1")] {
        node.write(&format!("{folder}/{name}"), &format!("{text}\n"));
    }
    node.link(&format!("{folder}/driver"), &format!("../../../bus/pci/drivers/{driver}"));
}

fn folder(address: &str) -> String {
    format!("sys/bus/pci/devices/{address}")
}

fn interface(node: &Node, address: &str, name: &str, state: &str) {
    let folder = format!("{}/net/{name}", folder(address));
    node.write(&format!("{folder}/type"), "1\n");
    // Brought up by an admin, whatever its link says.
    node.write(&format!("{folder}/flags"), "0x1003\n");
    node.write(&format!("{folder}/operstate"), &format!("{state}\n"));
}

/// A network card of Intel with four virtual functions, the last two bound to `vfio-pci`; a bridge, and the
/// card of the node's own network.
pub(super) fn host(rules: &str) -> Option<Node> {
    let node = Node::new(&format!("version: v1\nresources:\n{rules}"))?;
    node.write("sys/devices/system/node/node1/cpulist", "8-15\n");
    function(&node, "0000:00:01.0", ["0x8086", "0x1901", "0x060400"], "pcieport");
    function(&node, CARD, ["0x8086", "0x1572", "0x020000"], "i40e");
    interface(&node, CARD, "eth0", "up");
    node.write(&format!("{}/sriov_numvfs", folder(CARD)), "4\n");
    for number in 0..4 {
        let address = format!("0000:3b:02.{number}");
        let driver = if number < 2 { "iavf" } else { "vfio-pci" };
        function(&node, &address, ["0x8086", "0x154c", "0x020000"], driver);
        node.link(&format!("{}/physfn", folder(&address)), &format!("../{CARD}"));
        node.link(&format!("{}/virtfn{number}", folder(CARD)), &format!("../{address}"));
    }
    interface(&node, "0000:3b:02.0", "eth0v0", "down");
    function(&node, "0000:5e:00.0", ["0x15b3", "0x1017", "0x020000"], "mlx5_core");
    interface(&node, "0000:5e:00.0", "eth9", "up");
    node.write(
        "proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
         eth9\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    );
    node.write("proc/net/ipv6_route", "");
    Some(node)
}

/// Binds to an IOMMU group, whose node is there.
fn group(node: &Node, address: &str, group: u64, name: &str) {
    node.link(
        &format!("{}/iommu_group", folder(address)),
        &format!("../../../../kernel/iommu_groups/{group}"),
    );
    node.write(&format!("sys/kernel/iommu_groups/{group}/type"), "DMA\n");
    if name == "vfio-noiommu" {
        node.write(&format!("sys/kernel/iommu_groups/{group}/name"), "vfio-noiommu\n");
        node.add_device(&format!("vfio/noiommu-{group}"), group);
    } else {
        node.add_device(&format!("vfio/{group}"), group);
    }
}

fn addresses(devices: &[serde_json::Value]) -> Vec<&str> {
    devices.iter().map(|device| device["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn virtual_functions_are_chosen_by_number_and_told_by_address() {
    let rules = "- name: example.com/sriov-a\n  match: {kind: pci, pfName: 'eth0#0-1', linkType: ethernet}\n";
    let Some(node) = host(rules) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable("example.com/sriov-a", 2).await.unwrap();
    assert_eq!(ids(&list), ["0000:3b:02.0", "0000:3b:02.1"]);
    assert_eq!(list[0].topology.as_ref().unwrap().nodes[0].id, 1);
    let given = kubelet.allocate("example.com/sriov-a", &["0000:3b:02.1", "0000:3b:02.0"]).await.unwrap();
    let container = &given.container_responses[0];
    assert_eq!(container.envs["PCIDEVICE_EXAMPLE_COM_SRIOV_A"], "0000:3b:02.0,0000:3b:02.1");
    assert!(container.devices.is_empty(), "{container:?}");
}

#[tokio::test]
async fn what_the_node_itself_uses_is_not_offered() {
    let Some(node) = host("- {name: example.com/any, match: {kind: pci}}\n") else { return };
    group(&node, "0000:3b:02.2", 5, "");
    group(&node, "0000:3b:02.3", 6, "");
    let (devices, log) = node.discover();
    assert_eq!(addresses(&devices), ["0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2", "0000:3b:02.3"]);
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn a_function_bound_to_vfio_comes_with_the_node_of_its_group() {
    let Some(node) = host("- {name: example.com/vfio, match: {kind: pci, driver: vfio-pci}}\n") else {
        return;
    };
    node.add_device("vfio/vfio", 9);
    group(&node, "0000:3b:02.2", 5, "");
    group(&node, "0000:3b:02.3", 7, "vfio-noiommu");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable("example.com/vfio", 2).await.unwrap();
    for (id, nodes) in [
        ("0000:3b:02.2", ["/dev/vfio/5", "/dev/vfio/vfio"]),
        ("0000:3b:02.3", ["/dev/vfio/noiommu-7", "/dev/vfio/vfio"]),
    ] {
        let given = kubelet.allocate("example.com/vfio", &[id]).await.unwrap();
        let specs = &given.container_responses[0].devices;
        assert_eq!(specs.iter().map(|spec| spec.host_path.as_str()).collect::<Vec<_>>(), nodes);
    }
    node.remove_device("vfio/5");
    let list = kubelet.until_allocatable("example.com/vfio", 1).await.unwrap();
    assert_eq!((list[0].health.as_str(), list[1].health.as_str()), ("Unhealthy", "Healthy"));
    let refused = kubelet.allocate("example.com/vfio", &["0000:3b:02.2"]).await.unwrap_err();
    assert!(refused.message().contains("its node /dev/vfio/5 is not there"), "{refused}");
}

#[tokio::test]
async fn functions_of_one_iommu_group_are_one_to_containers() {
    let Some(node) = host("- {name: example.com/vfio, match: {kind: pci, driver: vfio-pci}}\n") else {
        return;
    };
    group(&node, "0000:3b:02.2", 5, "");
    node.link(&format!("{}/iommu_group", folder("0000:3b:02.3")), "../../../../kernel/iommu_groups/5");
    let (devices, log) = node.discover();
    assert_eq!(addresses(&devices), ["0000:3b:02.2"]);
    assert!(log.contains("0000:3b:02.3 shares /dev/vfio/5 with another device"), "{log}");
}

#[tokio::test]
async fn verbs_nodes_come_where_rdma_was_asked_for() {
    let rules = "- {name: example.com/rdma, match: {kind: pci, pfName: 'eth0#0', rdma: true}}\n\
                 - {name: example.com/net, match: {kind: pci, pfName: 'eth0#1'}}\n";
    let Some(node) = host(rules) else { return };
    for (number, minor) in [(0, 3), (1, 5)] {
        let address = format!("0000:3b:02.{number}");
        node.write(&format!("{}/infiniband_verbs/uverbs{number}/dev", folder(&address)), "231:192\n");
        node.add_device(&format!("infiniband/uverbs{number}"), minor);
    }
    node.add_device("infiniband/rdma_cm", 7);
    let (devices, _) = node.discover();
    let nodes: Vec<_> = devices.iter().map(|device| device["nodes"].to_string()).collect();
    assert_eq!(nodes, ["[\"/dev/infiniband/uverbs0\"]", "[]"]);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable("example.com/rdma", 1).await.unwrap();
    let given = kubelet.allocate("example.com/rdma", &["0000:3b:02.0"]).await.unwrap();
    let specs = &given.container_responses[0].devices;
    let paths: Vec<_> = specs.iter().map(|spec| spec.host_path.as_str()).collect();
    assert_eq!(paths, ["/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0"]);
}

#[tokio::test]
async fn a_card_without_link_makes_its_virtual_functions_unhealthy_until_it_has_one() {
    let rules = "- {name: example.com/net, match: {kind: pci, pfName: 'eth0#0-1'}, excludeTopology: true}\n";
    let Some(node) = host(rules) else { return };
    interface(&node, CARD, "eth0", "down");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    let list = kubelet.until("two devices", |view| {
        view.devices("example.com/net").filter(|list| list.len() == 2).map(<[_]>::to_vec)
    });
    assert!(
        list.await.unwrap().iter().all(|device| device.health == "Unhealthy" && device.topology.is_none())
    );
    interface(&node, CARD, "eth0", "up");
    // The kernel tells nobody of a link by inotify: any change of /dev makes the plugin look.
    node.add_device("nudge", 3);
    kubelet.until_allocatable("example.com/net", 2).await.unwrap();
    assert!(plugin.log().contains("device recovered"), "{}", plugin.log());
}

#[tokio::test]
async fn a_function_that_cannot_be_read_hides_no_other() {
    let rules = "- {name: 'example.com/{driver}', match: {kind: pci, device: 154c}}\n";
    let Some(node) = host(rules) else { return };
    node.write(&format!("{}/vendor", folder("0000:99:00.0")), "8086\n");
    group(&node, "0000:3b:02.2", 5, "");
    group(&node, "0000:3b:02.3", 6, "");
    let (devices, log) = node.discover();
    let named: Vec<_> = devices.iter().map(|device| device["resource"].as_str().unwrap()).collect();
    let [net, vfio] = ["example.com/iavf", "example.com/vfio-pci"];
    assert_eq!(named, [net, net, vfio, vfio]);
    assert!(log.contains("0000:99:00.0/vendor is no hexadecimal number: 0000:99:00.0 is left out"), "{log}");
}

#[tokio::test]
async fn an_error_that_cost_the_link_is_told_and_not_forgotten_at_once() {
    let rules = "- {name: example.com/net, match: {kind: pci, pfName: 'eth0#0-1'}}\n";
    let Some(node) = host(rules) else { return };
    let counter = format!("{}/aer_dev_fatal", folder("0000:3b:02.1"));
    let count = |fatal: u64| format!("Undefined 0\nDLP {fatal}\nTOTAL_ERR_FATAL {fatal}\n");
    node.write(&counter, &count(2));
    let agent = std::os::unix::net::UnixDatagram::bind(node.agent()).unwrap();
    agent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable("example.com/net", 2).await.unwrap();
    node.write(&counter, &count(3));
    node.add_device("nudge", 3);
    kubelet.until_allocatable("example.com/net", 1).await.unwrap();
    let told = "its count of fatal PCIe errors rose from 2 to 3";
    let refused = kubelet.allocate("example.com/net", &["0000:3b:02.1"]).await.unwrap_err();
    assert!(refused.message().contains(told), "{refused}");
    let mut datagram = [0; 2048];
    let length = agent.recv(&mut datagram).unwrap();
    let news: serde_json::Value = serde_json::from_slice(&datagram[..length]).unwrap();
    assert_eq!((&news["v"], &news["leg"]), (&1.into(), &"device-plugin".into()));
    assert_eq!(news["event"]["reason"], "DeviceUnhealthy");
    let message = news["event"]["message"].as_str().unwrap();
    assert_eq!(message, format!("device 0000:3b:02.1 of example.com/net failed: {told}"));
    node.add_device("again", 5);
    let watched = kubelet.until("the time on probation", |view| {
        let refused = view.devices("example.com/net")?.iter().any(|device| device.health == "Unhealthy");
        refused.then_some(())
    });
    watched.await.unwrap();
}

#[tokio::test]
async fn sixty_four_functions_of_two_cards_on_two_sockets_are_told_apart() {
    let rules = "- {name: 'example.com/{pfName}', match: {kind: pci, pfName: 'eth0#0-31'}}\n\
                 - {name: example.com/dpdk, match: {kind: pci, pfName: ['card0#0-31', 'card1#0-31'], driver: vfio-pci}}\n";
    let Some(node) = Node::new(&format!("version: v1\nresources:\n{rules}")) else { return };
    for numa in 0..2_u64 {
        let bus = 0x3b + numa;
        let card = format!("0000:{bus:02x}:00.0");
        node.write(&format!("sys/devices/system/node/node{numa}/cpulist"), "0-15\n");
        function(&node, &card, ["0x8086", "0x1592", "0x020000"], "ice");
        interface(&node, &card, &format!("card{numa}"), "up");
        node.write(&format!("{}/sriov_numvfs", folder(&card)), "32\n");
        for number in 0..32_u64 {
            let address = format!("0000:{bus:02x}:{:02x}.{}", 1 + number / 8, number % 8);
            function(&node, &address, ["0x8086", "0x1889", "0x020000"], "vfio-pci");
            node.write(&format!("{}/numa_node", folder(&address)), &format!("{numa}\n"));
            node.link(&format!("{}/physfn", folder(&address)), &format!("../{card}"));
            node.link(&format!("{}/virtfn{number}", folder(&card)), &format!("../{address}"));
            group(&node, &address, 100 * (numa + 1) + number, "");
        }
    }
    let (devices, log) = node.discover();
    let on = |numa: u64| devices.iter().filter(|device| device["numa"] == numa).count();
    assert_eq!((devices.len(), on(0), on(1)), (64, 32, 32), "{log}");
    assert!(
        devices
            .iter()
            .all(|device| device["resource"] == "example.com/dpdk" && device["health"] == "Healthy")
    );
}

#[tokio::test]
async fn a_card_whose_interface_is_in_a_pod_is_still_that_card() {
    let Some(node) = host("- {name: example.com/card, match: {kind: pci, pfName: ens8}}\n") else { return };
    function(&node, "0000:86:00.0", ["0x15b3", "0x1017", "0x020000"], "mlx5_core");
    interface(&node, "0000:86:00.0", "ens8", "up");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable("example.com/card", 1).await.unwrap();
    // The kernel shows interfaces to their own network namespace only.
    std::fs::remove_dir_all(node.root().join(format!("{}/net", folder("0000:86:00.0")))).unwrap();
    function(&node, "0000:87:00.0", ["0x15b3", "0x1017", "0x020000"], "mlx5_core");
    interface(&node, "0000:87:00.0", "ens8", "up");
    node.add_device("nudge", 3);
    let list = kubelet.until_allocatable("example.com/card", 2).await.unwrap();
    assert_eq!(ids(&list), ["0000:86:00.0", "0000:87:00.0"]);
    assert!(!plugin.log().contains("device failed"), "{}", plugin.log());
}
