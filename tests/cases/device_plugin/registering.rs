//! Staying registered, and leaving cleanly.

use super::*;

#[tokio::test]
async fn a_restarted_kubelet_is_registered_with_again() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let mut latencies = Vec::new();
    for _ in 0..20 {
        let listening = kubelet.restart().await.unwrap();
        kubelet.until_allocatable(SERIAL, 1).await.unwrap();
        latencies.push(registered_after(&kubelet, listening));
    }
    latencies.sort();
    println!(
        "registered again after kubelet.sock appeared: median {:?}, worst {:?}",
        latencies[10], latencies[19]
    );
    assert_eq!(sockets(&node).len(), 2, "kubelet.sock and one of ours: {:?}", sockets(&node));
}

#[tokio::test]
async fn a_kubelet_that_was_away_for_a_while_is_registered_with_when_it_returns() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    kubelet.crash().await;
    plugin.until_logged("Connection refused").await;
    let listening = kubelet.restart().await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    println!("registered after a kubelet's absence: {:?}", registered_after(&kubelet, listening));
}

#[tokio::test]
async fn a_registration_socket_made_anew_is_registered_with_though_no_stream_was_lost() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    kubelet.renew_socket().await.unwrap();
    kubelet.until("a second registration", |view| (registrations(view) == 2).then_some(())).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    kubelet.look(never_registered_twice_at_a_time);
}

#[tokio::test]
async fn a_kubelet_that_comes_later_than_the_plugin_is_registered_with() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::absent(node.plugins());
    let plugin = node.run();
    plugin.until_logged("waiting for the kubelet").await;
    let listening = kubelet.restart().await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    println!("registered after the first kubelet appeared: {:?}", registered_after(&kubelet, listening));
}

#[tokio::test]
async fn a_plugin_directory_that_does_not_exist_yet_is_waited_for() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    std::fs::remove_dir(node.plugins()).unwrap();
    let plugin = node.run();
    plugin.until_logged("cannot bind a socket").await;
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_somebody_removed_is_replaced() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let first = kubelet.look(|view| view.plugins[SERIAL].endpoint.clone());
    std::fs::remove_file(node.plugins().join(&first)).unwrap();
    kubelet.until("a second registration", |view| (registrations(view) == 2).then_some(())).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let second = kubelet.look(|view| view.plugins[SERIAL].endpoint.clone());
    assert_ne!(first, second, "each registration has a socket name of its own");
    kubelet.look(never_registered_twice_at_a_time);
}

#[tokio::test]
async fn a_stream_that_the_kubelet_closed_leads_to_a_new_registration_each_time_later() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let mut waits = Vec::new();
    for known in 1..=8 {
        let closed = Instant::now();
        kubelet.close_streams().await;
        let wanted =
            |view: &View| (registrations(view) > known && view.devices(SERIAL).is_some()).then_some(());
        kubelet.until("another registration", wanted).await.unwrap();
        waits.push(closed.elapsed());
    }
    // Two plugins that fight for one name must not do so at full speed: 2 ms double to 256 ms.
    assert!(waits[7] >= Duration::from_millis(256), "{waits:?}");
}

#[tokio::test]
async fn a_refused_registration_is_tried_again_until_it_is_accepted() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.refuse(Some("not today"));
    let plugin = node.run();
    let refused = |view: &View| view.count(SERIAL, |what| matches!(what, Happening::Refused(_)));
    kubelet.until("three refusals", |view| (refused(view) >= 3).then_some(())).await.unwrap();
    kubelet.refuse(None);
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert_eq!(plugin.log().matches("the kubelet refuses: not today").count(), 1, "a complaint is made once");
}

#[tokio::test]
async fn sigterm_ends_the_streams_and_removes_the_sockets() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let status = plugin.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(sockets(&node), ["kubelet.sock"]);
    let ended = |view: &View| view.count(SERIAL, |what| *what == Happening::StreamEnded);
    kubelet.until("the end of the stream", |view| (ended(view) == 1).then_some(())).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_was_killed_leaves_a_socket_which_the_next_one_removes() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let mut first = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    first.child.kill().await.unwrap();
    assert_eq!(sockets(&node).len(), 2);
    let _second = node.run();
    kubelet.until("a second registration", |view| (registrations(view) == 2).then_some(())).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert_eq!(sockets(&node).len(), 2, "{:?}", sockets(&node));
}

#[tokio::test]
async fn without_a_kubelet_the_plugin_lives_and_is_not_ready() {
    let Some(node) = Node::new(CONFIG) else { return };
    let plugin = node.run();
    plugin.until_logged("waiting for the kubelet").await;
    let address = plugin.probe_address().await;
    assert!(http_get(&address, "/livez").await.starts_with("HTTP/1.1 200 OK"));
    let page = http_get(&address, "/readyz").await;
    assert!(page.starts_with("HTTP/1.1 503 "), "{page}");
    assert!(page.contains("the kubelet does not have 1 as offered\n"), "{page}");
    assert!(http_get(&address, "/other").await.starts_with("HTTP/1.1 404"));
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.until("a registration", |view| (registrations(view) == 1).then_some(())).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !http_get(&address, "/readyz").await.starts_with("HTTP/1.1 200 OK") {
        assert!(Instant::now() < deadline, "{}", plugin.log());
    }
}
