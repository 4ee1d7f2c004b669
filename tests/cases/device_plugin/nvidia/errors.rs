//! What the driver says is wrong, and a driver that says nothing.

use tonic::Code;

use super::*;

#[tokio::test]
async fn an_error_concerns_every_replica_and_ends_when_the_driver_says_so() {
    let shared = ALL.replace("strategy: device-specs", "sharing: {mode: time-slicing, replicas: 3}");
    let Some(node) = with_gpus(&shared, &[("gpus", &two([0, 0]))]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 6).await.unwrap();
    // One of an application, then one that costs a reset.
    strike(&node, "GPU-a", 94);
    plugin.until_logged("\"xid\":94").await;
    kubelet.until_allocatable(GPU, 6).await.unwrap();
    tell(&node, "gpus", &two([1, 0]));
    strike(&node, "GPU-a", 79);
    let list = kubelet.until_allocatable(GPU, 3).await.unwrap();
    assert!(
        list.iter()
            .filter(|device| device.health == "Unhealthy")
            .all(|device| device.id.starts_with("GPU-a::"))
    );
    let refused = kubelet.allocate(GPU, &["GPU-a::2"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("the driver asks for a reset of the GPU"), "{refused}");
    // Reset: the driver asks for nothing any more, and the GPU is watched for a while.
    tell(&node, "gpus", &two([0, 0]));
    tokio::time::sleep(Duration::from_secs(6)).await;
    node.add_device("nudge", 3);
    let watched = "well again, but not yet for long enough";
    let deadline = Instant::now() + Duration::from_secs(20);
    while !kubelet.allocate(GPU, &["GPU-a::2"]).await.unwrap_err().message().contains(watched) {
        assert!(Instant::now() < deadline, "{}", plugin.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_config_says_what_an_error_means() {
    let config = format!("{ALL}health: {{xid: {{application: [79], replace: [94]}}}}\n");
    let Some(node) = with_gpus(&config, &[("gpus", &two([0, 0]))]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    strike(&node, "GPU-a", 79);
    plugin.until_logged("\"xid\":79").await;
    strike(&node, "GPU-b", 94);
    let list = kubelet.until_allocatable(GPU, 1).await.unwrap();
    assert_eq!(list[1].health, "Unhealthy");
    let refused = kubelet.allocate(GPU, &["GPU-b"]).await.unwrap_err();
    assert!(refused.message().contains("XID 94: have the GPU seen to"), "{refused}");
}

#[tokio::test]
async fn a_lost_gpu_is_unhealthy_and_the_others_are_not() {
    let memory = ALL.replace("strategy: device-specs", "sharing: {mode: memory, unit: 70Gi}");
    let Some(node) = with_gpus(&memory, &[("gpus", &two([-1, -1]))]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 4).await.unwrap();
    // One that no longer tells its memory, then not even who it is: its shares stay listed.
    for lost in ["|-1|1\n", "|-1|2\n"] {
        tell(&node, "gpus", &two([-1, -1]).replacen("|-1|0\n", lost, 1));
        node.add_device("nudge", 3);
        let list = kubelet.until_allocatable(GPU, 2).await.unwrap();
        assert_eq!(ids(&list), ["GPU-a::0", "GPU-a::1", "GPU-b::0", "GPU-b::1"]);
        assert!(list[..2].iter().all(|device| device.health == "Unhealthy"));
        node.remove_device("nudge");
    }
}

#[tokio::test]
async fn errors_are_heard_again_after_the_driver_was_deaf() {
    let Some(node) = with_gpus(ALL, &[("gpus", &two([-1, -1])), ("deaf", "")]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    plugin.until_logged("no longer told of errors of GPUs").await;
    std::fs::remove_file(node.nvml().join("deaf")).unwrap();
    strike(&node, "GPU-a", 79);
    // Looked for again at the first look that comes some seconds later.
    for minor in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        node.add_device(&format!("nudge{minor}"), minor);
    }
    kubelet.until_allocatable(GPU, 1).await.unwrap();
}

#[tokio::test]
async fn without_the_library_the_kernel_module_tells_which_gpus_there_are() {
    let Some(node) = with_gpus(ALL, &[]) else { return };
    std::fs::remove_file(node.root().join("usr/lib64/libnvidia-ml.so.1")).unwrap();
    node.write(
        "proc/driver/nvidia/gpus/0000:3b:00.0/information",
        "Model: \t\t NVIDIA H200\nIRQ:   \t\t 255\nGPU UUID: \t GPU-a\nBus Location: \t 0000:3b:00.0\nDevice Minor: \t 0\n",
    );
    node.write(
        "proc/driver/nvidia/gpus/0000:5e:00.0/information",
        "Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-????????-????\nBus Location: \t 0000:5e:00.0\nDevice Minor: \t 1\n",
    );
    let (devices, log) = node.discover();
    let ids: Vec<_> = devices.iter().map(|device| device["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["0000:5e:00.0", "GPU-a"]);
    assert!(log.contains("are not observed: there is no libnvidia-ml.so.1 below the driver root"), "{log}");
}

#[tokio::test]
async fn a_driver_that_refuses_is_told_of_with_the_remedy_and_tried_again() {
    let Some(node) = with_gpus(ALL, &[("gpus", &two([-1, -1])), ("init", "4")]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    plugin.until_logged("give it the runtime class nvidia, or make it privileged").await;
    std::fs::remove_file(node.nvml().join("init")).unwrap();
    node.add_device("nudge", 3);
    kubelet.until_allocatable(GPU, 2).await.unwrap();
}

#[tokio::test]
async fn a_driver_that_hangs_holds_up_no_call_of_the_kubelet() {
    let Some(node) = with_gpus(ALL, &[("gpus", &two([-1, -1]))]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    tell(&node, "hang", "");
    node.add_device("nudge", 3);
    for _ in 0..20 {
        kubelet.allocate(GPU, &["GPU-a"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    plugin.until_logged("NVML has not answered for 1s: NVIDIA GPUs are offered as they were").await;
}

#[tokio::test]
async fn a_driver_that_hangs_from_the_start_holds_up_no_other_device() {
    let config = format!("{ALL}- {{name: example.com/serial, match: {{paths: [/dev/ttyT*]}}}}\n");
    let Some(node) = with_gpus(&config, &[("gpus", &two([-1, -1])), ("hang", "")]) else { return };
    node.add_device("ttyT0", 4);
    node.write(
        "proc/driver/nvidia/gpus/0000:3b:00.0/information",
        "Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-a\nBus Location: \t 0000:3b:00.0\nDevice Minor: \t 0\n",
    );
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let refused = kubelet.allocate(GPU, &["GPU-a"]).await.unwrap_err();
    assert!(refused.message().contains("NVML"), "{refused}");
    // The answer that comes at last is reason enough to look.
    std::fs::remove_file(node.nvml().join("hang")).unwrap();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
}
