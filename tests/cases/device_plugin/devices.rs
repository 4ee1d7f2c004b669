//! Devices: listed, allocated, coming and going.

use tonic::Code;

use super::*;

#[tokio::test]
async fn a_resource_is_registered_with_its_devices() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    std::fs::write(node.dev("ttyT2"), "no device node").unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(ids(&list), ["ttyT0", "ttyT1"]);
    assert!(list.iter().all(|device| device.topology.is_none()), "no NUMA node is known: {list:?}");
    assert!(kubelet.look(|view| view.plugins[SERIAL].options.get_preferred_allocation_available));
}

#[tokio::test]
async fn allocate_gives_the_nodes_under_their_own_paths() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let given = kubelet.admit(SERIAL, 1).await.unwrap();
    assert_eq!(given.ids, ["ttyT0"], "the first of the list is preferred");
    let spec = &given.response.devices[0];
    let seen = (spec.host_path.as_str(), spec.container_path.as_str(), spec.permissions.as_str());
    assert_eq!(seen, ("/dev/ttyT0", "/dev/ttyT0", "rw"));
    assert_eq!(given.response.devices.len(), 1);
    kubelet.admit(SERIAL, 1).await.unwrap();
    let error = kubelet.admit(SERIAL, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "example.com/serial: 1 devices wanted, 0 free");
}

#[tokio::test]
async fn allocate_refuses_an_unknown_id_and_a_device_that_is_gone() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let unknown = kubelet.allocate(SERIAL, &["ttyT0", "ttyT7"]).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert_eq!(unknown.message(), "\"ttyT7\" is not a device of example.com/serial");
    node.remove_device("ttyT0");
    kubelet.until_allocatable(SERIAL, 0).await.unwrap();
    let gone = kubelet.allocate(SERIAL, &["ttyT0"]).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
    assert_eq!(
        gone.message(),
        "device ttyT0 of example.com/serial is unhealthy: its node /dev/ttyT0 is gone"
    );
}

#[tokio::test]
async fn devices_come_and_go_and_a_vanished_one_stays_listed_unhealthy() {
    let Some(node) = Node::new(CONFIG) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    assert!(kubelet.until_allocatable(SERIAL, 0).await.unwrap().is_empty(), "an empty resource is served");
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    node.remove_device("ttyT0");
    let list = kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let health: Vec<_> = list.iter().map(|d| (d.id.as_str(), d.health.as_str())).collect();
    assert_eq!(health, [("ttyT0", "Unhealthy"), ("ttyT1", "Healthy")]);
    node.add_device("ttyT0", 3);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let doubled = kubelet.look(|view| lists(view).windows(2).filter(|pair| pair[0] == pair[1]).count());
    assert_eq!(doubled, 0, "an unchanged list is never sent again");
}

#[tokio::test]
async fn a_folder_of_links_that_appears_later_is_noticed() {
    let config =
        "version: v1\nresources:\n- name: example.com/serial\n  match: {paths: [/dev/serial/by-id/*]}\n";
    let Some(node) = Node::new(config) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 0).await.unwrap();
    node.add_device("ttyT0", 3);
    std::fs::create_dir_all(node.dev("serial/by-id")).unwrap();
    std::os::unix::fs::symlink("../../ttyT0", node.dev("serial/by-id/usb-X")).unwrap();
    let list = kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert_eq!(ids(&list), ["serial-by-id-usb-X"]);
    let given = kubelet.admit(SERIAL, 1).await.unwrap();
    assert_eq!(given.response.devices[0].host_path, "/dev/serial/by-id/usb-X");
}

#[tokio::test]
async fn a_shareable_device_is_listed_count_times() {
    let config = "version: v1\nresources:\n- name: example.com/serial\n  rename: example.com/serial.shared\n  \
                  count: 3\n  match: {paths: [/dev/ttyT0]}\n";
    let Some(node) = Node::new(config) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let shared = "example.com/serial.shared";
    let list = kubelet.until_allocatable(shared, 3).await.unwrap();
    assert_eq!(ids(&list), ["ttyT0::0", "ttyT0::1", "ttyT0::2"]);
    let given = kubelet.admit(shared, 2).await.unwrap();
    assert_eq!(given.response.devices.len(), 1, "two shares of a device bring its node once");
}

#[tokio::test]
async fn two_streams_both_see_the_truth() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let mut second = kubelet.open_stream(SERIAL).await.unwrap();
    assert_eq!(second.message().await.unwrap().unwrap().devices.len(), 1);
    node.add_device("ttyT1", 5);
    assert_eq!(ids(&second.message().await.unwrap().unwrap().devices), ["ttyT0", "ttyT1"]);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    drop(second);
    node.add_device("ttyT2", 7);
    kubelet.until_allocatable(SERIAL, 3).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1, "a stream beside the kubelet's changes nothing");
}

#[tokio::test]
async fn a_list_of_ten_thousand_devices_is_served_and_allocated_from() {
    let config = "version: v1\nresources:\n- name: example.com/serial\n  count: 10000\n  match: {paths: [/dev/ttyT0]}\n";
    let Some(node) = Node::new(config) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 10_000).await.unwrap();
    let mut latencies = Vec::new();
    for n in 0..500 {
        let id = format!("ttyT0::{}", n * 19);
        let began = Instant::now();
        kubelet.allocate(SERIAL, &[&id]).await.unwrap();
        latencies.push(began.elapsed());
    }
    latencies.sort();
    println!("Allocate at 10000 devices, debug build: median {:?}, p99 {:?}", latencies[250], latencies[494]);
    let given = kubelet.admit(SERIAL, 3).await.unwrap();
    assert_eq!(given.ids, ["ttyT0::0", "ttyT0::1", "ttyT0::2"]);
}
