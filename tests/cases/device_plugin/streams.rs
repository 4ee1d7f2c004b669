//! ListAndWatch streams under bad conditions.

use super::*;

const MANY: &str =
    "version: v1\nresources:\n- name: example.com/serial\n  count: 5000\n  match: {paths: [/dev/ttyT*]}\n";

fn listed(view: &View) -> usize {
    view.count(SERIAL, |what| matches!(what, Happening::Listed(_)))
}

#[tokio::test]
async fn a_kubelet_that_does_not_read_holds_up_nothing_and_gets_the_newest_list_at_last() {
    let Some(node) = Node::new(MANY) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 5_000).await.unwrap();
    kubelet.read(false);
    for more in 1..=12 {
        add_another(&node, &plugin, more).await;
        kubelet.allocate(SERIAL, &[&format!("ttyT{more}::0")]).await.unwrap();
    }
    let before = kubelet.look(listed);
    kubelet.read(true);
    kubelet.until_allocatable(SERIAL, 65_000).await.unwrap();
    let late = kubelet.look(listed) - before;
    assert!(late <= 4, "{late} lists were kept for a reader that was away; only the newest matters");
}

/// Adds a device and waits until the plugin has a list with it.
async fn add_another(node: &Node, plugin: &node::Plugin, number: u64) {
    node.add_device(&format!("ttyT{number}"), 20 + number);
    plugin.until_logged(&format!("\"device_id\":\"ttyT{number}\"")).await;
}

#[tokio::test]
async fn a_kubelet_that_does_not_read_does_not_keep_us_from_the_next_one() {
    let Some(node) = Node::new(MANY) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 5_000).await.unwrap();
    kubelet.read(false);
    for more in 1..=5 {
        add_another(&node, &plugin, more).await;
    }
    kubelet.renew_socket().await.unwrap();
    kubelet.until("a second registration", |view| (registrations(view) == 2).then_some(())).await.unwrap();
    assert_eq!(connections(&plugin), 1, "the old connection is closed, read or not");
    kubelet.read(true);
    kubelet.until_allocatable(SERIAL, 30_000).await.unwrap();
}

/// How many connections to its sockets the plugin holds open.
fn connections(plugin: &node::Plugin) -> usize {
    let inode = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(target.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
    };
    let process = format!("/proc/{}", plugin.child.id().unwrap());
    let ours: Vec<_> = std::fs::read_dir(format!("{process}/fd")).unwrap().filter_map(inode).collect();
    let table = std::fs::read_to_string(format!("{process}/net/unix")).unwrap();
    // Num RefCount Protocol Flags Type St Inode Path; state 03 is a connection.
    let accepted = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|row| {
        row.len() == 8 && row[5] == "03" && row[7].contains("/tripod-") && ours.iter().any(|i| i == row[6])
    });
    accepted.count()
}

#[tokio::test]
async fn a_list_of_nearly_four_mebibytes_passes_in_sickness_and_in_health() {
    let Some(node) = Node::new(&CONFIG.replace("match:", "count: 46000\n    match:")) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("ttyT1-a-name-as-long-as-there-is-room-for", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until("a list", |view| view.devices(SERIAL).map(drop)).await.unwrap();
    let healthy = kubelet.look(|view| view.plugins[SERIAL].allocatable());
    assert_eq!(healthy, 92_000, "the list is not cut");
    node.remove_device("ttyT0");
    plugin.until_logged("device failed").await;
    kubelet.until_allocatable(SERIAL, healthy - 46_000).await.unwrap();
    node.add_device("ttyT0", 3);
    kubelet.until_allocatable(SERIAL, healthy).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1, "no list was too long for the kubelet");
}

#[tokio::test]
async fn the_end_of_the_kubelets_stream_is_noticed_though_another_one_is_open() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let mut kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let mut second = kubelet.open_stream(SERIAL).await.unwrap();
    assert_eq!(second.message().await.unwrap().unwrap().devices.len(), 1);
    kubelet.close_streams().await;
    kubelet.until("a second registration", |view| (registrations(view) == 2).then_some(())).await.unwrap();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert!(!matches!(second.message().await, Ok(Some(_))), "its socket is gone");
}
