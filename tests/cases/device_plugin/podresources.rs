//! What containers hold, asked of the kubelet.

use super::*;

async fn readyz_says(address: &str, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = http_get(address, "/readyz").await;
        if page.contains(line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line:?} is not on the page:\n{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_device_that_vanished_is_forgotten_once_no_container_holds_it() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    node.add_device("ttyT2", 7);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.serve_podresources(&node.podresources()).unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 3).await.unwrap();
    let held = kubelet.admit(SERIAL, 1).await.unwrap();
    assert_eq!(held.ids, ["ttyT0"]);
    node.remove_device("ttyT0");
    node.remove_device("ttyT2");
    let forgotten = |view: &View| {
        let ids = ids(view.devices(SERIAL)?);
        (!ids.contains(&"ttyT2")).then(|| ids.contains(&"ttyT0"))
    };
    let kept = kubelet.until("ttyT2 to be forgotten", forgotten).await.unwrap();
    assert!(kept, "ttyT0 is held, so it stays listed");
    kubelet.release(&held.container).unwrap();
    plugin
        .until_logged("\"message\":\"released\",\"resource\":\"example.com/serial\",\"device_id\":\"ttyT0\"")
        .await;
    let all = |view: &View| (ids(view.devices(SERIAL)?) == ["ttyT1"]).then_some(());
    kubelet.until("ttyT0 to be forgotten", all).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1);
}

#[tokio::test]
async fn a_device_that_vanished_while_no_plugin_ran_is_listed_until_no_container_holds_it() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.serve_podresources(&node.podresources()).unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let held = kubelet.admit(SERIAL, 1).await.unwrap();
    assert_eq!(held.ids, ["ttyT0"]);
    plugin.stop().await;
    node.remove_device("ttyT0");
    let _plugin = node.run();
    let failed = |view: &View| {
        let listed = view.devices(SERIAL)?.iter().find(|device| device.id == "ttyT0")?;
        (listed.health == "Unhealthy").then_some(())
    };
    kubelet.until("ttyT0 to be unhealthy", failed).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    node.add_device("ttyT0", 3);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    node.remove_device("ttyT0");
    kubelet.until("ttyT0 to be unhealthy again", failed).await.unwrap();
    kubelet.release(&held.container).unwrap();
    let all = |view: &View| (ids(view.devices(SERIAL)?) == ["ttyT1"]).then_some(());
    kubelet.until("ttyT0 to be forgotten", all).await.unwrap();
}

#[tokio::test]
async fn that_the_kubelet_has_what_was_sent_is_checked_and_told() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    plugin.until_logged("what containers hold is not known").await;
    let address = plugin.probe_address().await;
    readyz_says(&address, "example.com/serial: live, 1 listed, 1 healthy\n").await;
    kubelet.serve_podresources(&node.podresources()).unwrap();
    readyz_says(&address, "example.com/serial: live, 1 listed, 1 healthy, the kubelet has the same\n").await;
    kubelet.read(false);
    node.add_device("ttyT1", 5);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    node.add_device("ttyT2", 7);
    let lacks = "the kubelet does not have 1 as offered\n\
                 example.com/serial: live, 3 listed, 3 healthy, the kubelet has 2 of them, lacks 1 and has 0 others\n";
    readyz_says(&address, lacks).await;
    assert!(http_get(&address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(http_get(&address, "/livez").await.starts_with("HTTP/1.1 200 "));
    kubelet.read(true);
    readyz_says(&address, "ok\nexample.com/serial: live, 3 listed, 3 healthy, the kubelet has the same\n")
        .await;
    assert_eq!(plugin.log().matches("what containers hold is not known").count(), 1);
}

#[tokio::test]
async fn metrics_tell_of_registrations_lists_and_calls() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.serve_podresources(&node.podresources()).unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    kubelet.admit(SERIAL, 1).await.unwrap();
    kubelet.allocate(SERIAL, &["nobody"]).await.unwrap_err();
    node.remove_device("ttyT1");
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let page = http_get(&plugin.metrics_address().await, "/metrics").await;
    for line in [
        "registrations_total{resource=\"example.com/serial\"} 1",
        "registration_state{resource=\"example.com/serial\",state=\"live\"} 1",
        "streams{resource=\"example.com/serial\"} 1",
        "devices{resource=\"example.com/serial\",state=\"healthy\"} 1",
        "devices{resource=\"example.com/serial\",state=\"unhealthy\"} 1",
        "allocate_seconds_count{resource=\"example.com/serial\"} 2",
        "preferred_seconds_count{resource=\"example.com/serial\"} 1",
        "health_changes_total{resource=\"example.com/serial\",state=\"unhealthy\"} 1",
        "health_changes_total{resource=\"example.com/serial\",state=\"healthy\"} 0",
    ] {
        assert!(page.lines().any(|l| l == format!("tripod_device_plugin_{line}")), "{line}\n{page}");
    }
    assert!(page.contains("tripod_device_plugin_last_error_timestamp_seconds{"), "{page}");
    let address = plugin.probe_address().await;
    readyz_says(&address, " s ago: \"nobody\" is not a device of example.com/serial\n").await;
}
