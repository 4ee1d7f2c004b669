//! Kind `usb`, on a made `/sys/bus/usb`.

use tonic::Code;

use super::*;

const SHARED: &str = "version: v1\nresources:\n- name: example.com/serial\n  match: {kind: usb, vendor: '0403'}\n  \
    sharing: {mode: time-slicing, replicas: 2}\n";
pub(super) const ADAPTERS: &str = "version: v1\nresources:\n- name: example.com/serial\n  match: {kind: usb, vendor: '0403', product: ['6001', '6015']}\n";

/// A device at a port, as the kernel shows it: numbers in decimal, ids in hexadecimal.
fn plug(node: &Node, port: &str, device: u64, [vendor, product, serial]: [&str; 3]) {
    let folder = format!("sys/bus/usb/devices/{port}");
    for (name, text) in [
        ("bDeviceClass", "00"),
        ("idVendor", vendor),
        ("idProduct", product),
        ("busnum", "1"),
        ("devnum", device.to_string().as_str()),
        ("product", "USB Serial Adapter"),
    ] {
        node.write(&format!("{folder}/{name}"), &format!("{text}\n"));
    }
    if !serial.is_empty() {
        node.write(&format!("{folder}/serial"), &format!("{serial}\n"));
    }
    node.add_device(&format!("bus/usb/001/{device:03}"), device);
}

fn unplug(node: &Node, port: &str, device: u64) {
    std::fs::remove_dir_all(node.root().join(format!("sys/bus/usb/devices/{port}"))).unwrap();
    node.remove_device(&format!("bus/usb/001/{device:03}"));
}

pub(super) fn bus(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    for (name, text) in [("bDeviceClass", "09"), ("idVendor", "0403"), ("idProduct", "6001"), ("busnum", "1")]
    {
        node.write(&format!("sys/bus/usb/devices/usb1/{name}"), text);
    }
    node.write("sys/bus/usb/devices/1-2:1.0/bInterfaceClass", "ff");
    plug(&node, "1-2", 3, ["0403", "6001", "A50285BI"]);
    plug(&node, "1-4.1", 5, ["0403", "6015", ""]);
    plug(&node, "1-5", 7, ["046d", "c52b", ""]);
    Some(node)
}

#[tokio::test]
async fn devices_are_chosen_by_their_ids_and_named_by_what_stays() {
    let Some(node) = bus(ADAPTERS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(ids(&list), ["0403-6001-A50285BI", "0403-6015-1-4.1"]);
    let given = kubelet.allocate(SERIAL, &["0403-6001-A50285BI"]).await.unwrap();
    assert_eq!(given.container_responses[0].devices[0].host_path, "/dev/bus/usb/001/003");
}

#[tokio::test]
async fn a_device_that_is_plugged_in_elsewhere_is_the_same_by_its_serial_number() {
    let Some(node) = bus(ADAPTERS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    unplug(&node, "1-2", 3);
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    plug(&node, "1-7", 9, ["0403", "6001", "A50285BI"]);
    let list = kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(ids(&list), ["0403-6001-A50285BI", "0403-6015-1-4.1"]);
    let given = kubelet.allocate(SERIAL, &["0403-6001-A50285BI"]).await.unwrap();
    assert_eq!(given.container_responses[0].devices[0].host_path, "/dev/bus/usb/001/009");
}

#[tokio::test]
async fn a_twin_takes_over_nothing_of_the_one_that_is_unplugged() {
    let Some(node) = bus(ADAPTERS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    plug(&node, "1-8", 8, ["0403", "6001", "A50285BI"]);
    let list = kubelet.until_allocatable(SERIAL, 3).await.unwrap();
    let both = ["0403-6001-A50285BI", "0403-6001-A50285BI-1-8", "0403-6015-1-4.1"];
    assert_eq!(ids(&list), both, "what is listed keeps its id");
    unplug(&node, "1-2", 3);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    kubelet.allocate(SERIAL, &[both[0]]).await.unwrap_err();
    let given = kubelet.allocate(SERIAL, &[both[1]]).await.unwrap();
    assert_eq!(given.container_responses[0].devices[0].host_path, "/dev/bus/usb/001/008");
}

#[tokio::test]
async fn what_is_malformed_hides_nothing_else() {
    let Some(node) = bus(ADAPTERS) else { return };
    plug(&node, "1-8", 8, ["0403", "6001", "A50285BI"]);
    plug(&node, "1-9", 11, ["0403", "6001", "lost"]);
    node.remove_device("bus/usb/001/011");
    node.write("sys/bus/usb/devices/1-10/idVendor", "0403");
    let attribute = node.root().join("sys/bus/usb/devices/1-11/idVendor");
    plug(&node, "1-11", 12, ["0403", "6001", "fifo"]);
    std::fs::remove_file(&attribute).unwrap();
    nix::unistd::mkfifo(&attribute, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    let list = kubelet.until_allocatable(SERIAL, 3).await.unwrap();
    assert_eq!(ids(&list), ["0403-6001-A50285BI-1-2", "0403-6001-A50285BI-1-8", "0403-6015-1-4.1"]);
    let log = plugin.log();
    for told in [
        "/dev/bus/usb/001/011 is no device node: USB device 1-9 is left out",
        "sys/bus/usb/devices/1-10/idProduct is missing: USB device 1-10 is left out",
        "sys/bus/usb/devices/1-11/idVendor is missing: USB device 1-11 is left out",
    ] {
        assert!(log.contains(told), "{told:?} in {log}");
    }
}

#[tokio::test]
async fn a_container_that_asks_for_two_of_a_shared_device_is_told() {
    let Some(node) = bus(SHARED) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 4).await.unwrap();
    let ids = ["0403-6001-A50285BI::0", "0403-6015-1-4.1::1"];
    let refused = kubelet.allocate(SERIAL, &ids).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("failRequestsGreaterThanOne: false"), "{refused}");
    kubelet.allocate(SERIAL, &ids[..1]).await.unwrap();
}
