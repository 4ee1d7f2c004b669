//! Kind `sample`.

use super::*;

const RESOURCE: &str = "example.com/resource";

#[tokio::test]
async fn two_devices_are_offered_that_are_nothing() {
    let Some(node) =
        Node::new("version: v1\nresources: [{name: example.com/resource, match: {kind: sample}}]\n")
    else {
        return;
    };
    // Upstream would mount it, wherever it leads.
    node.link("tmp/Dev-1", "/etc/shadow");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(RESOURCE, 2).await.unwrap();
    assert_eq!(ids(&list), ["Dev-1", "Dev-2"]);
    let given = kubelet.allocate(RESOURCE, &["Dev-1", "Dev-2"]).await.unwrap();
    let container = &given.container_responses[0];
    assert!(container.mounts.is_empty() && container.devices.is_empty(), "{container:?}");
    assert_eq!(container.envs["SAMPLE_DEVICE"], "Dev-1,Dev-2");
}
