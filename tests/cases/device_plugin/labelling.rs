//! Labels of the node, in the file that Node Feature Discovery reads.

use std::os::unix::fs::MetadataExt;

use super::nvidia::{tell, two, with_gpus};
use super::*;

const GPU: &str = "nvidia.com/gpu";
const CONFIG: &str = "version: v1\nresources: [{name: nvidia.com/gpu, match: {kind: nvidia}}]\n";

#[tokio::test]
async fn the_nodes_labels_follow_its_devices() {
    let Some(node) = with_gpus(CONFIG, &[("gpus", &two([-1, -1]))]) else { return };
    std::fs::create_dir(node.features()).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    let path = node.features().join("tripod-devices");
    let labels = |count: usize| {
        format!(
            "nvidia.com/gpu.count={count}\nnvidia.com/gpu.driver=570.86.15\nnvidia.com/gpu.memory=143771\n\
             nvidia.com/gpu.product=NVIDIA-H200\n"
        )
    };
    assert_eq!(std::fs::read_to_string(&path).unwrap(), labels(2));
    let before = std::fs::metadata(&path).unwrap().ino();
    tell(&node, "gpus", two([-1, -1]).lines().next().unwrap());
    node.add_device("nudge", 3);
    kubelet.until_allocatable(GPU, 1).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), labels(1));
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(plugin.stop().await.code(), Some(0));
    assert!(path.exists(), "the devices are still there");
    // None left, as an earlier run's labels are found.
    node.configure("version: v1\nresources: []\n");
    let plugin = node.run();
    plugin.until_logged("tells the node's labels").await;
    assert!(node.features().read_dir().unwrap().next().is_none());
}
