//! Kind `nvidia`, with a made library in the place of NVIDIA's.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use tripod_tests::programs;

use super::*;

mod errors;
mod links;

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
async fn a_gpu_without_a_driver_is_worth_a_word() {
    let Some(node) = Node::new(ALL) else { return };
    for (name, text) in [("vendor", "0x10de\n"), ("class", "0x030200\n"), ("device", "0x2335\n")] {
        node.write(&format!("sys/bus/pci/devices/0000:3b:00.0/{name}"), text);
    }
    let (devices, log) = node.discover();
    assert!(devices.is_empty() && log.contains("the NVIDIA GPU at 0000:3b:00.0 has no driver"), "{log}");
}
