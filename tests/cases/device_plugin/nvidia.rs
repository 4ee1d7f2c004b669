//! Kind `nvidia`, with a made library in the place of NVIDIA's.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use tonic::Code;
use tripod_tests::programs;

use super::*;

const GPU: &str = "nvidia.com/gpu";
const ALL: &str =
    "version: v1\nresources:\n- {name: nvidia.com/gpu, match: {kind: nvidia}, strategy: device-specs}\n";
const VERSION: &str = "570.86.15";

/// The made library, built once.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let target = programs::target_dir().join("nvml");
        std::fs::create_dir_all(&target).unwrap();
        let library = target.join(format!("libnvidia-ml.so.{}", std::process::id()));
        let source = programs::workspace().join("tests/nvml/fake.c");
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(status.expect("cc, which Rust links with").success());
        library
    };
    LIBRARY.get_or_init(build).clone()
}

/// A node with a driver and these files of the made library.
pub(super) fn with_gpus(config: &str, files: &[(&str, &str)]) -> Option<Node> {
    let node = Node::new(config)?.with_program(programs::dynamic_device_plugin());
    let folder = node.root().join("usr/lib64");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(node.nvml()).unwrap();
    std::fs::copy(library(), folder.join(format!("libnvidia-ml.so.{VERSION}"))).unwrap();
    node.write(&format!("usr/lib64/libcuda.so.{VERSION}"), "");
    node.write("usr/lib64/libc.so.6", "");
    node.write("usr/bin/nvidia-smi", "");
    for (link, target) in
        [("libnvidia-ml.so.1", "libnvidia-ml"), ("libcuda.so.1", "libcuda"), ("libcuda.so", "libcuda")]
    {
        node.link(&format!("usr/lib64/{link}"), &format!("{target}.so.{VERSION}"));
    }
    for (name, text) in files {
        tell(&node, name, text);
    }
    for (name, minor) in [("nvidiactl", 3), ("nvidia-uvm", 5), ("nvidia0", 7), ("nvidia1", 8), ("nvidia2", 9)]
    {
        node.add_device(name, minor);
    }
    Some(node)
}

pub(super) fn tell(node: &Node, name: &str, text: &str) {
    // At once, as the library may be reading.
    let new = node.nvml().join(format!("{name}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, node.nvml().join(name)).unwrap();
}

/// An error of a GPU, as the driver tells it.
fn strike(node: &Node, uuid: &str, xid: u64) {
    let path = node.nvml().join("events");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{uuid}|{xid}\n").as_bytes()).unwrap();
}

/// Two GPUs; what the driver wants done is unknown (-1), nothing (0) or more.
pub(super) fn two(recovery: [i32; 2]) -> String {
    let [first, second] = recovery;
    format!(
        "GPU-a|NVIDIA H200|00000000:3B:00.0|0|150754820096|0|{first}|0\n\
         GPU-b|NVIDIA H200|00000000:5E:00.0|1|150754820096|0|{second}|0\n"
    )
}

#[tokio::test]
async fn gpus_are_found_with_their_memory_nodes_and_links() {
    let pairs = "GPU-a|GPU-b|40\nGPU-a|GPU-c|20\nGPU-b|GPU-c|20\n";
    let third = "GPU-c|NVIDIA L4|00000000:86:00.0|2|23622320128|0|-1|0\n";
    let nvlinks =
        "GPU-a|00000000:5E:00.0\nGPU-a|00000000:5E:00.0\nGPU-b|00000000:3B:00.0\nGPU-b|00000000:3B:00.0\n";
    let gpus = two([-1, -1]) + third;
    let files = [("gpus", gpus.as_str()), ("pairs", pairs), ("nvlinks", nvlinks)];
    let Some(node) = with_gpus(ALL, &files) else { return };
    node.write("sys/bus/pci/devices/0000:3b:00.0/numa_node", "1\n");
    node.write("sys/devices/system/node/node1/cpulist", "0-3\n");
    let (devices, log) = node.discover();
    let expected = json!({
        "id": "GPU-a", "resource": GPU, "kind": "nvidia", "vendor": "NVIDIA", "model": "NVIDIA H200", "numa": 1,
        "memory": 150_754_820_096_u64, "parent": null, "health": "Healthy", "nodes": ["/dev/nvidia0"],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(devices[0][key], *value, "{key}: {log}");
    }
    // PCIe by NVML's words for distance, 100 for each NVLink.
    assert_eq!(devices[0]["links"], json!({"GPU-b": 20 + 200, "GPU-c": 40}));
}

#[tokio::test]
async fn gpus_behind_switches_are_linked_by_the_links_to_those() {
    let links = |uuid: &str| format!("{uuid}|00000000:C0:00.0\n").repeat(3);
    let nvlinks = links("GPU-a") + &links("GPU-b");
    let Some(node) = with_gpus(ALL, &[("gpus", &two([-1, -1])), ("nvlinks", &nvlinks)]) else { return };
    let (devices, _) = node.discover();
    assert_eq!(devices[1]["links"], json!({"GPU-a": 300}));
}

#[tokio::test]
async fn a_container_gets_nodes_libraries_under_all_their_names_and_programs() {
    let Some(node) = with_gpus(ALL, &[("gpus", &two([-1, -1]))]) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    let answer = kubelet.allocate(GPU, &["GPU-b"]).await.unwrap();
    let container = &answer.container_responses[0];
    let nodes: Vec<_> = container.devices.iter().map(|device| device.host_path.as_str()).collect();
    assert_eq!(nodes, ["/dev/nvidia-uvm", "/dev/nvidia1", "/dev/nvidiactl"]);
    let mut mounts: Vec<_> = container
        .mounts
        .iter()
        .map(|mount| (mount.container_path.clone(), mount.host_path.clone()))
        .collect();
    mounts.sort();
    let library =
        |name: &str, file: &str| (format!("/usr/lib64/{name}"), format!("/usr/lib64/{file}.so.{VERSION}"));
    let program = "/usr/bin/nvidia-smi".to_owned();
    let expected = [
        (program.clone(), program),
        library("libcuda.so", "libcuda"),
        library("libcuda.so.1", "libcuda"),
        library(&format!("libcuda.so.{VERSION}"), "libcuda"),
        library("libnvidia-ml.so.1", "libnvidia-ml"),
        library(&format!("libnvidia-ml.so.{VERSION}"), "libnvidia-ml"),
    ];
    assert_eq!(mounts, expected);
    assert!(container.mounts.iter().all(|mount| mount.read_only));
    assert_eq!(container.envs["NVIDIA_VISIBLE_DEVICES"], "void");
}

#[tokio::test]
async fn what_the_toolkit_has_described_goes_by_its_name() {
    let config = ALL.replace("device-specs", "auto");
    let Some(node) = with_gpus(&config, &[("gpus", &two([-1, -1]))]) else { return };
    node.write(
        "etc/cdi/nvidia.yaml",
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: GPU-a\n  containerEdits: {}\n",
    );
    node.write("etc/cdi/broken.yaml", "kind: [");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    let answer = kubelet.allocate(GPU, &["GPU-a", "GPU-b"]).await.unwrap();
    let names: Vec<_> =
        answer.container_responses[0].cdi_devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]);
    let ours = std::fs::read_to_string(node.cdi().join("tripod-nvidia.com-gpu.json")).unwrap();
    assert!(ours.contains("\"GPU-b\"") && !ours.contains("\"GPU-a\""), "{ours}");
}

#[tokio::test]
async fn a_gpu_in_mig_mode_is_offered_by_its_parts() {
    let config = "version: v1\nresources:\n\
        - {name: 'nvidia.com/mig-{profile}', match: {kind: nvidia, profile: '*g.*'}, strategy: device-specs}\n\
        - {name: nvidia.com/gpu, match: {kind: nvidia, profile: full}}\n";
    let gpus = two([-1, -1]).replacen("|0|-1|", "|1|-1|", 1);
    let parts = "GPU-a|MIG-1|NVIDIA H200 MIG 1g.18gb|19327352832|7|0\nGPU-a|MIG-2|NVIDIA H200 MIG 3g.71gb|76235669504|1|0\n";
    let Some(node) = with_gpus(config, &[("gpus", &gpus), ("parts", parts)]) else { return };
    for (instance, minors) in [(7, [30, 31]), (1, [40, 41])] {
        let folder = format!("proc/driver/nvidia/capabilities/gpu0/mig/gi{instance}");
        for (file, minor) in ["access", "ci0/access"].iter().zip(minors) {
            node.write(
                &format!("{folder}/{file}"),
                &format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\n"),
            );
            node.add_device(&format!("nvidia-caps/nvidia-cap{minor}"), minor);
        }
    }
    let (devices, log) = node.discover();
    let offered: Vec<_> = devices
        .iter()
        .map(|d| (d["resource"].as_str().unwrap(), d["id"].as_str().unwrap(), d["parent"].as_str()))
        .collect();
    let expected = [
        ("nvidia.com/mig-1g.18gb", "MIG-1", Some("GPU-a")),
        ("nvidia.com/mig-3g.71gb", "MIG-2", Some("GPU-a")),
        (GPU, "GPU-b", None),
    ];
    assert_eq!(offered, expected, "{log}");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable("nvidia.com/mig-1g.18gb", 1).await.unwrap();
    let answer = kubelet.allocate("nvidia.com/mig-1g.18gb", &["MIG-1"]).await.unwrap();
    let nodes: Vec<_> =
        answer.container_responses[0].devices.iter().map(|device| device.host_path.as_str()).collect();
    let caps = ["/dev/nvidia-caps/nvidia-cap30", "/dev/nvidia-caps/nvidia-cap31"];
    assert_eq!(nodes, [caps[0], caps[1], "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]);
    // An error of the GPU is one of each of its parts.
    strike(&node, "GPU-a", 79);
    for resource in ["nvidia.com/mig-1g.18gb", "nvidia.com/mig-3g.71gb"] {
        kubelet.until_allocatable(resource, 0).await.unwrap();
    }
    kubelet.until_allocatable(GPU, 1).await.unwrap();
    tell(&node, "parts", "");
    node.add_device("nudge", 3);
    plugin.until_logged("GPU-a is in MIG mode and has no instances").await;
}

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

#[tokio::test]
async fn a_gpu_without_a_driver_is_worth_a_word() {
    let Some(node) = Node::new(ALL) else { return };
    for (name, text) in [("vendor", "0x10de\n"), ("class", "0x030200\n"), ("device", "0x2335\n")] {
        node.write(&format!("sys/bus/pci/devices/0000:3b:00.0/{name}"), text);
    }
    let (devices, log) = node.discover();
    assert!(devices.is_empty() && log.contains("the NVIDIA GPU at 0000:3b:00.0 has no driver"), "{log}");
}

/// NVLinks of eight GPUs in two quads, as `nvidia-smi topo -m` prints them of a DGX-1 with V100.
const CUBE_MESH: [(usize, usize, usize); 16] = [
    (0, 1, 1),
    (0, 2, 1),
    (0, 3, 2),
    (0, 4, 2),
    (1, 2, 2),
    (1, 3, 1),
    (1, 5, 2),
    (2, 3, 2),
    (2, 6, 1),
    (3, 7, 1),
    (4, 5, 1),
    (4, 6, 1),
    (4, 7, 2),
    (5, 6, 2),
    (5, 7, 1),
    (6, 7, 2),
];

#[tokio::test]
async fn of_a_cube_mesh_the_kubelet_is_told_the_gpus_that_go_together() {
    let address = |gpu: usize| format!("00000000:{:02X}:00.0", 0x10 + gpu);
    let gpu = |n: usize| format!("GPU-{n}|Tesla V100|{}|{n}|34359738368|0|-1|0\n", address(n));
    let link = |&(a, b, count): &(usize, usize, usize)| {
        format!("GPU-{a}|{}\n", address(b)).repeat(count) + &format!("GPU-{b}|{}\n", address(a)).repeat(count)
    };
    let gpus: String = (0..8).map(gpu).collect();
    let nvlinks: String = CUBE_MESH.iter().map(link).collect();
    let Some(node) = with_gpus(ALL, &[("gpus", &gpus), ("nvlinks", &nvlinks)]) else { return };
    for n in 0..8 {
        let numa = if n < 4 { "0\n" } else { "1\n" };
        node.write(&format!("sys/bus/pci/devices/0000:{:02x}:00.0/numa_node", 0x10 + n), numa);
        if n > 2 {
            node.add_device(&format!("nvidia{n}"), 20 + n);
        }
    }
    for numa in [0, 1] {
        node.write(&format!("sys/devices/system/node/node{numa}/cpulist"), "0-3\n");
    }
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 8).await.unwrap();
    let all: Vec<_> = (0..8).map(|n| format!("GPU-{n}")).collect();
    let preferred = async |available: &[String], must: &[String], size| {
        let mut ids = kubelet.preferred(GPU, available, must, size).await.unwrap();
        ids.sort();
        ids
    };
    // Eight pairs have two links between them: of equals, the one whose last is first.
    assert_eq!(preferred(&all, &[], 2).await, ["GPU-1", "GPU-2"]);
    assert_eq!(preferred(&all, &[], 4).await, ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]);
    assert_eq!(preferred(&all[1..], &[], 4).await, ["GPU-4", "GPU-5", "GPU-6", "GPU-7"]);
    assert_eq!(preferred(&all, &all[5..6], 2).await, ["GPU-5", "GPU-6"]);
}
