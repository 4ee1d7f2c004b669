//! What the kubelet's device manager makes of us: what a node shows, what a container keeps.

use tripod_tests::kubelet::{Shown, Tracking};

use super::*;

fn shown(capacity: usize, allocatable: usize) -> Option<Shown> {
    Some(Shown { capacity, allocatable })
}

#[tokio::test]
async fn a_plugin_that_stopped_leaves_capacity_for_the_grace_and_none_after() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.shown(SERIAL), shown(2, 2));
    plugin.stop().await;
    kubelet.until("the end of the stream", |view| ended(view).then_some(())).await.unwrap();
    assert_eq!(kubelet.shown(SERIAL), shown(2, 0), "unhealthy at once, and still there");
    kubelet.set_grace(Duration::ZERO);
    assert_eq!(kubelet.shown(SERIAL), None);
    let _next = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.shown(SERIAL), shown(2, 2));
}

fn ended(view: &View) -> bool {
    view.count(SERIAL, |what| *what == Happening::StreamEnded) > 0
}

#[tokio::test]
async fn a_container_that_outlives_the_kubelet_keeps_what_it_was_given() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let given = kubelet.admit(SERIAL, 1).await.unwrap();
    kubelet.restart().await.unwrap();
    assert_eq!(kubelet.admit_again(&given.container, true).unwrap(), given.response);
    let after_reboot = kubelet.admit_again(&given.container, false);
    assert!(after_reboot.is_ok() || kubelet.look(registrations) == 1, "{after_reboot:?}");
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.admit_again(&given.container, false).unwrap(), given.response);
    assert_eq!(plugin.log().matches("allocation refused").count(), 0);
    let other = kubelet.admit(SERIAL, 1).await.unwrap();
    assert_ne!(other.ids, given.ids, "what the checkpoint holds is not given twice");
    kubelet.release(&given.container).unwrap();
    assert_eq!(kubelet.admit(SERIAL, 1).await.unwrap().ids, given.ids);
}

#[tokio::test]
async fn a_device_that_vanished_while_the_kubelet_was_away_is_told_as_unhealthy() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1", 5);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let given = kubelet.admit(SERIAL, 1).await.unwrap();
    kubelet.stop().await;
    node.remove_device("ttyT0");
    plugin.until_logged("device failed").await;
    kubelet.restart().await.unwrap();
    let list = kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert_eq!(ids(&list), ["ttyT0", "ttyT1"]);
    let error = kubelet.admit_again(&given.container, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "previously allocated devices are no longer healthy; cannot allocate unhealthy devices example.com/serial"
    );
    node.add_device("ttyT0", 3);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.admit_again(&given.container, false).unwrap(), given.response);
}

#[tokio::test]
async fn a_kubelet_that_tells_registrations_apart_by_name_never_shows_nothing_to_give() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.track(Tracking::ByName);
    let _plugin = node.run();
    for known in 1..=5 {
        kubelet.until_allocatable(SERIAL, 1).await.unwrap();
        kubelet.renew_socket().await.unwrap();
        let again = |view: &View| (registrations(view) > known).then_some(());
        kubelet.until("another registration", again).await.unwrap();
    }
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    kubelet.look(never_registered_twice_at_a_time);
    assert_eq!(kubelet.look(registrations), 6, "no registration was lost to the end of another one");
    assert_eq!(kubelet.shown(SERIAL), shown(1, 1));
}
