//! Being found by the kubelet's plugin watcher.

use tripod_tests::kubelet::Tracking;

use super::*;

async fn watching(node: &Node) -> Kubelet {
    std::fs::create_dir_all(node.registry()).unwrap();
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.watch_plugins(node.registry());
    kubelet
}

fn found(node: &Node) -> Vec<String> {
    let names = node.registry().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_resource_is_found_taken_and_kept() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = watching(&node).await;
    let plugin = node.run_by("watcher");
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let names = found(&node);
    assert!(names.len() == 1 && names[0].ends_with("-reg.sock"), "{names:?}");
    assert_eq!(kubelet.admit(SERIAL, 1).await.unwrap().ids, ["ttyT0"]);
    node.add_device("ttyT1", 5);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    for known in 1..=3 {
        kubelet.close_streams().await;
        let again = |view: &View| (registrations(view) > known).then_some(());
        kubelet.until("another registration", again).await.unwrap();
        kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    }
    assert_ne!(found(&node), names, "the socket was made anew");
    assert_eq!(sockets(&node), ["kubelet.sock"], "none of ours in the other folder");
    assert!(plugin.stop().await.success());
    assert!(found(&node).is_empty());
}

#[tokio::test]
async fn a_kubelet_that_restarts_finds_it_again() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = watching(&node).await;
    kubelet.track(Tracking::ByName);
    let _plugin = node.run_by("watcher");
    for known in 1..=4 {
        kubelet.until_allocatable(SERIAL, 1).await.unwrap();
        kubelet.restart().await.unwrap();
        let again = |view: &View| (registrations(view) > known).then_some(());
        kubelet.until("another registration", again).await.unwrap();
    }
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert_eq!(found(&node).len(), 1, "{:?}", found(&node));
}

#[tokio::test]
async fn a_kubelet_that_refuses_is_heard_and_asks_again() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = watching(&node).await;
    kubelet.refuse(Some("not today"));
    let plugin = node.run_by("watcher");
    plugin.until_logged("not registered: the kubelet refuses: not today").await;
    kubelet.refuse(None);
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
}

#[tokio::test]
async fn a_folder_and_a_kubelet_that_come_later_are_waited_for() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let plugin = node.run_by("watcher");
    plugin.until_logged("cannot bind a socket").await;
    let kubelet = watching(&node).await;
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
}
