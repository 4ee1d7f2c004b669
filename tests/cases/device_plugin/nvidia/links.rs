//! How GPUs are linked, and what follows for those that go together.

use super::*;

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
