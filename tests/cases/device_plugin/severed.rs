//! Connections that break anywhere: within a frame, a request, an answer, a list.

use super::*;

/// Every so many bytes, up to more than a registration, a list and an allocation take.
const CUTS: std::ops::Range<usize> = 0..1_400;
const STEP: usize = 23;

#[tokio::test]
async fn wherever_a_connection_breaks_the_resource_is_registered_again() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    for cut in CUTS.step_by(STEP) {
        kubelet.sever_after(Some(cut));
        kubelet.restart().await.unwrap();
        let severed = kubelet.look(|view| view.severed);
        kubelet
            .until(&format!("a connection to break after {cut} bytes, or to be served"), |view| {
                (view.severed > severed || view.devices(SERIAL).is_some()).then_some(())
            })
            .await
            .unwrap();
        // It may break in the midst of this, too; what counts is that it comes back.
        let _ = kubelet.allocate(SERIAL, &["ttyT0"]).await;
        kubelet.sever_after(None);
        kubelet.restart().await.unwrap();
        kubelet
            .until_allocatable(SERIAL, 1)
            .await
            .unwrap_or_else(|error| panic!("after {cut} bytes: {error}"));
        assert_eq!(kubelet.allocate(SERIAL, &["ttyT0"]).await.unwrap().container_responses.len(), 1);
    }
    assert_eq!(sockets(&node).len(), 2, "kubelet.sock and one of ours: {:?}", sockets(&node));
}

#[tokio::test]
async fn a_call_given_up_at_any_moment_leaves_the_others_alone() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    for moment in 0..200 {
        let patience = Duration::from_micros(moment * 10);
        let _ = tokio::time::timeout(patience, kubelet.allocate(SERIAL, &["ttyT0"])).await;
        let _ = tokio::time::timeout(patience, kubelet.open_stream(SERIAL)).await;
    }
    kubelet.allocate(SERIAL, &["ttyT0"]).await.unwrap();
    node.add_device("ttyT1", 5);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1);
}
