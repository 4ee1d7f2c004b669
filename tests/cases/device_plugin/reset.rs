//! Resets between two holders, with a shell script as the hook.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

const FPGA: &str = "example.com/fpga";

/// A node with one device whose reset is a script.
struct Site {
    node: Node,
    hook: PathBuf,
}

impl Site {
    fn new(script: &str) -> Option<Site> {
        let node = Node::new("version: v1\nresources: []\n")?;
        node.add_device("fpga0", 3);
        let hook = node.folder.path().join("hook");
        let text = format!("#!/bin/sh\ncd \"${{0%/*}}\"\n{script}\n");
        std::fs::write(&hook, text).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let site = Site { node, hook };
        site.node.configure(&site.config());
        Some(site)
    }

    fn config(&self) -> String {
        let hook = self.hook.display();
        format!(
            "version: v1\nresources:\n- name: {FPGA}\n  match: {{paths: ['/dev/fpga*']}}\n  \
             reset: {{command: [{hook}, --fast], timeout: 2s}}\n"
        )
    }

    async fn kubelet(&self) -> Kubelet {
        let kubelet = Kubelet::start(self.node.plugins()).await.unwrap();
        kubelet.serve_podresources(&self.node.podresources()).unwrap();
        kubelet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.folder.path().join(name)
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// What the hook has written down.
    fn runs(&self) -> Vec<String> {
        let runs = std::fs::read_to_string(self.path("runs")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
    }
}

const NOTES: &str = "echo \"$1 $TRIPOD_RESOURCE $TRIPOD_DEVICE_ID $TRIPOD_DEVICE_NODES\" >> runs";

/// Until what containers hold was asked so often that the plugin knows.
async fn inquired(kubelet: &Kubelet) {
    let before = kubelet.look(|view| view.inquiries);
    let asked = |view: &View| (view.inquiries >= before + 3).then_some(());
    kubelet.until("inquiries", asked).await.unwrap();
}

/// One container after another, so close that no release is seen.
async fn hand_over(kubelet: &Kubelet) -> String {
    let first = kubelet.admit(FPGA, 1).await.unwrap().container;
    kubelet.start_container(&first).await.unwrap();
    kubelet.release(&first).unwrap();
    kubelet.admit(FPGA, 1).await.unwrap().container
}

#[tokio::test]
async fn a_released_device_is_reset_once_and_nobodys_meanwhile() {
    let script = format!("{NOTES}; while [ -e busy ]; do sleep 0.02; done");
    let Some(site) = Site::new(&script) else { return };
    site.touch("busy");
    let kubelet = site.kubelet().await;
    let plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let held = kubelet.admit(FPGA, 1).await.unwrap();
    kubelet.start_container(&held.container).await.unwrap();
    assert!(site.runs().is_empty(), "it was clean");
    inquired(&kubelet).await;
    kubelet.release(&held.container).unwrap();
    kubelet.until_allocatable(FPGA, 0).await.unwrap();
    let refused = kubelet.allocate(FPGA, &["fpga0"]).await.unwrap_err();
    assert_eq!(refused.message(), "device fpga0 of example.com/fpga is unhealthy: being reset");
    std::fs::remove_file(site.path("busy")).unwrap();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let held = kubelet.admit(FPGA, 1).await.unwrap();
    kubelet.start_container(&held.container).await.unwrap();
    assert!(!plugin.log().contains("device failed"), "that is no failure:\n{}", plugin.log());
    assert_eq!(site.runs().last().unwrap(), "--fast example.com/fpga fpga0 /dev/fpga0");
}

#[tokio::test]
async fn a_reset_that_fails_is_told_and_tried_again() {
    let Some(site) = Site::new("[ -e well ] || { echo no bitstream >&2; exit 3; }") else { return };
    let kubelet = site.kubelet().await;
    let plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let held = kubelet.admit(FPGA, 1).await.unwrap();
    inquired(&kubelet).await;
    kubelet.release(&held.container).unwrap();
    plugin.until_logged("\"reason\":\"its reset failed: exit status 3: no bitstream; see the hook /").await;
    let refused = kubelet.allocate(FPGA, &["fpga0"]).await.unwrap_err();
    assert!(
        refused.message().contains("unhealthy: its reset failed: exit status 3: no bitstream"),
        "{refused}"
    );
    site.touch("well");
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let page = http_get(&plugin.metrics_address().await, "/metrics").await;
    let well = "tripod_device_plugin_resets_total{resource=\"example.com/fpga\",result=\"success\"} 1";
    assert!(page.contains(well), "{page}");
}

#[tokio::test]
async fn what_changes_hands_unseen_is_reset_before_its_new_holder_starts_and_not_when_that_restarts() {
    let Some(site) = Site::new(&format!("{NOTES}; [ -e well ] || {{ echo no bitstream; exit 3; }}")) else {
        return;
    };
    let kubelet = site.kubelet().await;
    let _plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let container = hand_over(&kubelet).await;
    let failed = kubelet.start_container(&container).await.unwrap_err();
    let told = format!(
        "device fpga0 of {FPGA} was used before, and its reset failed: exit status 3: no bitstream; see the hook {}",
        site.hook.display()
    );
    assert_eq!(failed.message(), told);
    site.touch("well");
    kubelet.start_container(&container).await.unwrap();
    assert_eq!(site.runs().len(), 2);
    kubelet.start_container(&container).await.unwrap();
    assert_eq!(site.runs().len(), 2, "its own restart resets nothing");
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_with_its_children() {
    let Some(site) = Site::new("sleep 300 & echo $! > child; echo waiting; wait") else { return };
    let kubelet = site.kubelet().await;
    let _plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let container = hand_over(&kubelet).await;
    let failed = kubelet.start_container(&container).await.unwrap_err();
    assert!(failed.message().contains("its reset failed: killed after 2s: waiting; see"), "{failed}");
    let child = std::fs::read_to_string(site.path("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive() {
        assert!(Instant::now() < deadline, "{stat} is there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_hook_that_is_not_there_fails_the_start_with_its_name() {
    let Some(site) = Site::new("") else { return };
    std::fs::remove_file(&site.hook).unwrap();
    let kubelet = site.kubelet().await;
    let _plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let container = hand_over(&kubelet).await;
    let failed = kubelet.start_container(&container).await.unwrap_err();
    let told = format!("cannot run {}: No such file or directory", site.hook.display());
    assert!(failed.message().contains(&told), "{failed}");
}

#[tokio::test]
async fn after_a_start_of_the_plugin_what_is_held_counts_as_used() {
    let Some(site) = Site::new(NOTES) else { return };
    let kubelet = site.kubelet().await;
    let plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    let held = kubelet.admit(FPGA, 1).await.unwrap();
    kubelet.start_container(&held.container).await.unwrap();
    plugin.stop().await;
    let plugin = site.node.run();
    kubelet.until_allocatable(FPGA, 1).await.unwrap();
    kubelet.start_container(&held.container).await.unwrap();
    assert!(site.runs().is_empty(), "its holder is the same");
    inquired(&kubelet).await;
    kubelet.release(&held.container).unwrap();
    plugin.until_logged("\"message\":\"reset\"").await;
    assert_eq!(site.runs().len(), 1);
}

#[tokio::test]
async fn the_kubelet_is_told_anew_when_a_reset_comes_or_goes() {
    let Some(site) = Site::new("") else { return };
    let kubelet = site.kubelet().await;
    let _plugin = site.node.run();
    let asks = |asked: bool| {
        move |view: &View| {
            let plugin = view.plugins.get(FPGA).filter(|plugin| plugin.devices.is_some())?;
            (plugin.options.pre_start_required == asked).then_some(())
        }
    };
    kubelet.until("a plugin with a hook", asks(true)).await.unwrap();
    let plain: Vec<_> =
        site.config().lines().filter(|line| !line.contains("reset")).map(str::to_owned).collect();
    site.node.configure(&plain.join("\n"));
    kubelet.until("a plugin without a hook", asks(false)).await.unwrap();
    site.node.configure(&site.config());
    kubelet.until("a plugin with a hook", asks(true)).await.unwrap();
    kubelet.look(never_registered_twice_at_a_time);
}
