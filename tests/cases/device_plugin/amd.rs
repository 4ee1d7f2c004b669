//! Kind `amd`, on a made `/sys`: cards of two kinds, KFD's topology, partitions.

use super::*;

const GPU: &str = "amd.com/gpu";
pub(super) const GPUS: &str = "version: v1\nresources: [{name: amd.com/gpu, match: {kind: amd}}]\n";
const BY_PROFILE: &str = "version: v1\nresources: [{name: 'amd.com/{profile}', match: {kind: amd}}]\n";
const KFD: &str = "sys/devices/virtual/kfd/kfd/topology/nodes";
const FIRST: &str = "GPU-a5b3e1c2d4f60718";
pub(super) const SECOND: &str = "GPU-0123456789abcdef";
/// Memory as KFD counts it, and as the driver does.
const MI300X: u64 = 206_141_652_992;
const VRAM: u64 = 206_158_430_208;

fn folder(address: &str) -> String {
    format!("sys/bus/pci/devices/{address}")
}

/// A card as `amdgpu` shows it, cut as `cut` says.
fn card(node: &Node, address: &str, minor: u64, [unique, compute, memory]: [&str; 3]) {
    let folder = folder(address);
    for (name, text) in [
        ("vendor", "0x1002"),
        ("device", "0x74a1"),
        ("class", "0x120000"),
        ("numa_node", "0"),
        ("unique_id", unique),
        ("mem_info_vram_total", "206158430208"),
        ("product_name", "AMD Instinct MI300X OAM"),
        ("current_compute_partition", compute),
        ("current_memory_partition", memory),
        ("ras/umc_err_count", "ue: 0\nce: 3\nde: 0"),
        ("ras/gfx_err_count", "ue: 0\nce: 0"),
        ("ras/aca_umc", "ue: 0\nce: 1\nde: 0"),
        ("ras/features", "feature mask: 0x3fff"),
    ] {
        node.write(&format!("{folder}/{name}"), &format!("{text}\n"));
    }
    node.link(&format!("{folder}/driver"), "../../../../bus/pci/drivers/amdgpu");
    drm(node, &folder, minor);
}

/// The nodes of the card, or of the partition, at `folder`: `card<minor>` and `renderD<128 + minor>`.
fn drm(node: &Node, folder: &str, minor: u64) {
    for (name, number) in
        [(format!("card{minor}"), 20 + minor), (format!("renderD{}", 128 + minor), 300 + minor)]
    {
        node.write(&format!("{folder}/drm/{name}/dev"), "226:0\n");
        node.add_device(&format!("dri/{name}"), number);
    }
}

/// KFD's folder of a GPU, in the words of `kfd_topology.c`.
fn kfd(node: &Node, number: u32, location: u64, minor: u64, memory: u64) {
    let folder = format!("{KFD}/{number}");
    node.write(&format!("{folder}/gpu_id"), &format!("{}\n", 28_851 + number));
    node.write(&format!("{folder}/name"), "ip discovery\n");
    let properties = format!(
        "cpu_cores_count 0\nsimd_count 1216\nmem_banks_count 1\nio_links_count 2\nwave_front_size 64\n\
         gfx_target_version 90402\nvendor_id 4098\ndevice_id 29857\nlocation_id {location}\ndomain 0\n\
         drm_render_minor {}\nhive_id 0\nnum_xcc 8\n",
        128 + minor
    );
    node.write(&format!("{folder}/properties"), &properties);
    let bank = format!("heap_type 1\nsize_in_bytes {memory}\nflags 0\nwidth 8192\nmem_clk_max 1300\n");
    node.write(&format!("{folder}/mem_banks/0/properties"), &bank);
    link(node, number, 0, [2, 0, 20]);
}

fn link(node: &Node, from: u32, slot: u32, [kind, to, weight]: [u32; 3]) {
    let text = format!(
        "type {kind}\nversion_major 0\nversion_minor 0\nnode_from {from}\nnode_to {to}\nweight {weight}\n\
         min_latency 0\nmax_latency 0\nmin_bandwidth 50000\nmax_bandwidth 50000\nflags 1\n"
    );
    node.write(&format!("{KFD}/{from}/io_links/{slot}/properties"), &text);
}

fn host(config: &str) -> Option<Node> {
    let node = Node::new(config)?;
    node.write("sys/devices/system/node/node0/cpulist", "0-7\n");
    node.link("sys/class/kfd/kfd", "../../devices/virtual/kfd/kfd");
    node.write(&format!("{KFD}/0/gpu_id"), "0\n");
    node.write(&format!("{KFD}/0/properties"), "cpu_cores_count 8\nsimd_count 0\n");
    node.add_device("kfd", 3);
    Some(node)
}

/// Two whole cards, one hop of XGMI apart.
pub(super) fn pair(config: &str) -> Option<Node> {
    let node = host(config)?;
    card(&node, "0000:05:00.0", 0, ["a5b3e1c2d4f60718", "SPX", "NPS1"]);
    card(&node, "0000:26:00.0", 1, ["0123456789abcdef", "SPX", "NPS1"]);
    kfd(&node, 1, 0x0500, 0, MI300X);
    kfd(&node, 2, 0x2600, 1, MI300X);
    link(&node, 1, 1, [11, 2, 15]);
    link(&node, 2, 1, [11, 1, 15]);
    Some(node)
}

/// The first card in `count` partitions. The driver keeps nodes for seven more, as it does on real ones.
fn cut(node: &Node, [compute, memory]: [&str; 2], count: u32) {
    card(node, "0000:05:00.0", 0, ["a5b3e1c2d4f60718", compute, memory]);
    for part in 1..8 {
        drm(node, &format!("sys/devices/platform/amdgpu_xcp_{}", part - 1), 10 + part);
    }
    for part in 0..count {
        let minor = if part == 0 { 0 } else { 10 + u64::from(part) };
        kfd(node, 1 + part, 0x0500 | u64::from(part), minor, MI300X / u64::from(count));
    }
}

#[tokio::test]
async fn a_card_comes_with_its_nodes_and_the_one_that_all_share() {
    let Some(node) = pair(GPUS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let list = kubelet.until_allocatable(GPU, 2).await.unwrap();
    assert_eq!(ids(&list), [SECOND, FIRST]);
    assert_eq!(list[0].topology.as_ref().unwrap().nodes[0].id, 0);
    let given = kubelet.allocate(GPU, &[FIRST]).await.unwrap();
    let paths: Vec<_> = given.container_responses[0].devices.iter().map(|d| d.host_path.as_str()).collect();
    assert_eq!(paths, ["/dev/dri/card0", "/dev/dri/renderD128", "/dev/kfd"]);
    node.remove_device("dri/renderD128");
    kubelet.until_allocatable(GPU, 1).await.unwrap();
    let refused = kubelet.allocate(GPU, &[FIRST]).await.unwrap_err();
    assert!(refused.message().ends_with("its node /dev/dri/renderD128 is not there"), "{refused}");
}

#[tokio::test]
async fn a_card_tells_what_it_is_and_what_it_is_linked_to() {
    let Some(node) = pair("version: v1\nresources: [{name: 'amd.com/{model}', match: {kind: amd}}]\n") else {
        return;
    };
    let (devices, log) = node.discover();
    let expected = serde_json::json!({
        "id": FIRST, "resource": "amd.com/AMD-Instinct-MI300X-OAM", "kind": "amd", "vendor": "AMD",
        "model": "AMD Instinct MI300X OAM", "numa": 0, "memory": MI300X, "parent": null, "health": "Healthy",
        "nodes": ["/dev/dri/card0", "/dev/dri/renderD128"], "links": {SECOND: 600},
    });
    assert_eq!(devices[1], expected);
    assert_eq!(devices[0]["links"][FIRST], 600);
    assert!(log.is_empty(), "{log}");
}

#[tokio::test]
async fn partitions_are_devices_of_their_profile_and_know_their_card() {
    for (modes, count, resource) in
        [(["CPX", "NPS4"], 8, "amd.com/cpx_nps4"), (["DPX", "NPS2"], 2, "amd.com/dpx_nps2")]
    {
        let Some(node) = host(BY_PROFILE) else { return };
        cut(&node, modes, count);
        let (devices, log) = node.discover();
        assert_eq!(devices.len(), count as usize, "{log}");
        let last = format!("{FIRST}-{}", count - 1);
        let device = &devices[count as usize - 1];
        assert_eq!((&device["id"], &device["resource"]), (&last.as_str().into(), &resource.into()));
        assert_eq!(
            (&device["parent"], &device["memory"]),
            (&FIRST.into(), &(MI300X / u64::from(count)).into())
        );
        let minor = 10 + count - 1;
        let nodes = [format!("/dev/dri/card{minor}"), format!("/dev/dri/renderD{}", 128 + minor)];
        assert_eq!(device["nodes"], serde_json::json!(nodes));
        assert_eq!(device["links"].as_object().unwrap().len(), count as usize - 1);
        assert_eq!(device["links"][format!("{FIRST}-0")], 1000);
        assert!(log.is_empty(), "{log}");
    }
}

#[tokio::test]
async fn what_fails_in_a_card_fails_in_all_its_partitions_under_every_name() {
    let rules = "version: v1\nresources:\n\
        - {name: amd.com/first, match: {kind: amd, uuid: '*-0'}}\n\
        - {name: amd.com/rest, match: {kind: amd}}\n";
    let Some(node) = host(rules) else { return };
    cut(&node, ["CPX", "NPS1"], 8);
    card(&node, "0000:26:00.0", 1, ["0123456789abcdef", "SPX", "NPS1"]);
    kfd(&node, 9, 0x2600, 1, MI300X);
    node.write(&format!("{}/ras/umc_err_count", folder("0000:05:00.0")), "ue: 2\nce: 0\n");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    let first = kubelet.until_allocatable("amd.com/first", 0).await.unwrap();
    let rest = kubelet.until_allocatable("amd.com/rest", 1).await.unwrap();
    assert_eq!((first.len(), rest.len()), (1, 8));
    let refused = kubelet.allocate("amd.com/rest", &[&format!("{FIRST}-7")]).await.unwrap_err();
    let told = "/sys/bus/pci/devices/0000:05:00.0/ras/umc_err_count counts 2 uncorrectable errors: reset the GPU, \
        or restart the node";
    assert!(refused.message().ends_with(told), "{refused}");
}

#[tokio::test]
async fn a_card_that_loses_lanes_fails_with_all_its_partitions() {
    let Some(node) = host(GPUS) else { return };
    cut(&node, ["DPX", "NPS1"], 2);
    let lanes = format!("{}/current_link_width", folder("0000:05:00.0"));
    node.write(&lanes, "16\n");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(GPU, 2).await.unwrap();
    node.write(&lanes, "8\n");
    node.add_device("dri/card9", 99);
    kubelet.until_allocatable(GPU, 0).await.unwrap();
}

#[tokio::test]
async fn what_is_malformed_hides_nothing_else() {
    let Some(node) = pair(BY_PROFILE) else { return };
    let bad = folder("0000:05:00.0");
    for (name, text) in [
        ("unique_id", "here"),
        ("current_memory_partition", "UNKNOWN"),
        ("mem_info_vram_total", "-1"),
        ("ras/umc_err_count", "none"),
    ] {
        node.write(&format!("{bad}/{name}"), text);
    }
    node.write(&format!("{KFD}/1/properties"), "domain x\nlocation_id 1280\n");
    node.write(&format!("{KFD}/2/mem_banks/0/properties"), "heap_type 1\n");
    node.write(&format!("{KFD}/2/io_links/1/properties"), "type 11\nnode_to 1\nweight heavy\n");
    node.write(&format!("{}/vendor", folder("0000:99:00.0")), "0x1002\n");
    let (devices, log) = node.discover();
    let seen: Vec<_> =
        devices.iter().map(|d| [&d["resource"], &d["id"], &d["health"], &d["memory"]]).collect();
    let seen = serde_json::json!(seen);
    let expected = serde_json::json!([
        ["amd.com/spx", "0000:05:00.0", "Healthy", null],
        ["amd.com/spx_nps1", SECOND, "Healthy", VRAM],
    ]);
    assert_eq!(seen, expected);
    for told in [
        "0000:05:00.0/unique_id says \\\"here\\\", no number of 16 hexadecimal digits",
        "0000:05:00.0/current_memory_partition says \\\"UNKNOWN\\\", no way to cut memory",
        "0000:05:00.0/mem_info_vram_total says \\\"-1\\\", no number",
        "umc_err_count says \\\"none\\\", no list of error counts: its errors are not observed; reload amdgpu",
        "topology/nodes/1/properties says domain \\\"x\\\", no number",
        "topology/nodes/2/mem_banks/0/properties says nothing of size_in_bytes",
        "topology/nodes/2/io_links/1/properties says weight \\\"heavy\\\", no number",
        "0000:99:00.0/class is no hexadecimal number",
    ] {
        assert!(log.contains(told) || log.contains(&told.replace('\\', "")), "{told} in {log}");
    }
}

#[tokio::test]
async fn a_card_that_kfd_does_not_list_is_unhealthy_and_one_it_hides_is_not() {
    let Some(node) = pair(GPUS) else { return };
    std::fs::remove_dir_all(node.root().join(KFD).join("2")).unwrap();
    let health = |node: &Node| node.discover().0.iter().map(|d| d["health"].to_string()).collect::<Vec<_>>();
    assert_eq!(health(&node), ["\"Unhealthy\"", "\"Healthy\""]);
    // In a container without the GPU's node the kernel refuses to read this; a folder is as unreadable.
    std::fs::create_dir_all(node.root().join(KFD).join("2/gpu_id")).unwrap();
    assert_eq!(health(&node), ["\"Healthy\"", "\"Healthy\""]);
    let (devices, log) = node.discover();
    assert_eq!(devices[0]["memory"], VRAM);
    assert!(log.contains("nodes/2/gpu_id"), "{log}");
    node.remove_device("kfd");
    assert_eq!(health(&node), ["\"Unhealthy\"", "\"Unhealthy\""]);
}

#[tokio::test]
async fn a_card_that_is_cut_while_we_run_is_offered_in_parts() {
    let Some(node) = pair(BY_PROFILE) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable("amd.com/spx_nps1", 2).await.unwrap();
    std::fs::remove_dir_all(node.root().join(folder("0000:05:00.0"))).unwrap();
    for name in ["card0", "renderD128"] {
        node.remove_device(&format!("dri/{name}"));
    }
    std::fs::rename(node.root().join(KFD).join("2"), node.root().join(KFD).join("9")).unwrap();
    cut(&node, ["CPX", "NPS4"], 8);
    // The last of a real card's nodes appears after all that KFD tells.
    node.add_device("dri/card99", 999);
    let parts = kubelet.until_allocatable("amd.com/cpx_nps4", 8).await.unwrap();
    assert!(ids(&parts).iter().all(|id| id.starts_with(FIRST)), "{parts:?}");
    let whole = kubelet.until_allocatable("amd.com/spx_nps1", 1).await.unwrap();
    assert_eq!((ids(&whole), whole[1].health.as_str()), (vec![SECOND, FIRST], "Unhealthy"));
}

/// The largest node there is: eight cards in eight partitions each. Those of one number are linked, to keep the
/// tree small.
#[tokio::test]
async fn sixty_four_partitions_know_their_own_card_from_the_others() {
    let Some(node) = host(GPUS) else { return };
    for number in 0..8 {
        let (address, minor) = (format!("0000:{number}5:00.0"), u64::from(8 * number));
        card(&node, &address, minor, [&format!("a5b3e1c2d4f6071{number}"), "CPX", "NPS1"]);
        for part in 0..8 {
            let minor = minor + u64::from(part);
            if part > 0 {
                drm(&node, &format!("sys/devices/platform/amdgpu_xcp_{minor}"), minor);
            }
            let own = 1 + 8 * number + part;
            kfd(&node, own, u64::from(number << 12 | 0x500 | part), minor, MI300X / 8);
            let others = (0..8).map(|other| 1 + 8 * other + part).filter(|to| *to != own);
            others.for_each(|to| link(&node, own, to, [11, to, 15]));
        }
    }
    let (devices, log) = node.discover();
    assert_eq!(devices.len(), 64, "{log}");
    assert!(log.is_empty(), "{log}");
    for device in devices {
        let links = device["links"].as_object().unwrap();
        let own = links.iter().filter(|(_, weight)| **weight == 1000);
        let own: Vec<_> = own.map(|(id, _)| id.rsplit_once('-').unwrap().0).collect();
        assert_eq!((links.len(), own.as_slice()), (14, [device["parent"].as_str().unwrap(); 7].as_slice()));
    }
}

#[tokio::test]
async fn memory_is_shared_by_units() {
    let rules = "version: v1\nresources:\n- name: amd.com/gib\n  match: {kind: amd, profile: cpx_nps4}\n  \
        sharing: {mode: memory, unit: 8Gi}\n";
    let Some(node) = host(rules) else { return };
    cut(&node, ["CPX", "NPS4"], 8);
    let (devices, log) = node.discover();
    // 24 GB of 192 each, less what the driver keeps, hold two units and a part.
    assert_eq!(devices.len(), 8 * 2, "{log}");
}

#[tokio::test]
async fn cards_without_a_number_go_by_address_and_those_that_cannot_be_cut_are_full() {
    let Some(node) = host(BY_PROFILE) else { return };
    for (address, minor, unique) in [("0000:03:00.0", 0, ""), ("0000:04:00.0", 1, "0000000000000000")] {
        card(&node, address, minor, [unique, "", ""]);
        for name in ["current_compute_partition", "current_memory_partition", "product_name"] {
            std::fs::remove_file(node.root().join(folder(address)).join(name)).unwrap();
        }
    }
    kfd(&node, 1, 0x0300, 0, 16 << 30);
    kfd(&node, 2, 0x0400, 1, 16 << 30);
    link(&node, 1, 1, [2, 2, 40]);
    let (devices, _) = node.discover();
    let seen: Vec<_> = devices.iter().map(|d| [&d["resource"], &d["id"], &d["model"], &d["links"]]).collect();
    let expected = serde_json::json!([
        ["amd.com/full", "0000:03:00.0", "gfx942", {"0000:04:00.0": 50}],
        ["amd.com/full", "0000:04:00.0", "gfx942", {}],
    ]);
    assert_eq!(serde_json::json!(seen), expected);
}

#[tokio::test]
async fn nodes_without_such_cards_offer_nothing_and_say_nothing() {
    // With KFD, as on nodes whose processor is AMD's.
    let Some(node) = host(GPUS) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(GPU, 0).await.unwrap();
    assert!(!plugin.log().contains("WARN"), "{}", plugin.log());
    card(&node, "0000:05:00.0", 0, ["a5b3e1c2d4f60718", "SPX", "NPS1"]);
    let driver = node.root().join(folder("0000:05:00.0")).join("driver");
    std::fs::remove_file(&driver).unwrap();
    node.link(&format!("{}/driver", folder("0000:05:00.0")), "../../../../bus/pci/drivers/vfio-pci");
    assert_eq!(node.discover(), (Vec::new(), String::new()));
}
