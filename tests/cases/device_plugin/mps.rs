//! GPUs shared by NVIDIA's Multi-Process Service, with a script in the place of its daemon.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::Code;

use super::node::Plugin;
use super::nvidia::{tell, two, with_gpus};
use super::*;

const SHARED: &str = "nvidia.com/gpu.shared";
const WHOLE: &str = "nvidia.com/gpu";
const CONFIG: &str = "version: v1\nresources:\n\
    - {name: nvidia.com/gpu.shared, match: {kind: nvidia, uuid: GPU-a}, sharing: {mode: mps, replicas: 4}}\n\
    - {name: nvidia.com/gpu, match: {kind: nvidia}}\n";
const PROGRAM: &str = "usr/bin/nvidia-cuda-mps-control";

/// The daemon and its commands: NOTES is a folder with `record`, what happened; `pid`, that of the daemon, and
/// `server`, that of a process it has started. While it holds `mute` nothing is answered.
const SCRIPT: &str = r#"#!/bin/sh
cd NOTES
if [ "$1" = -f ]; then
    echo "start $CUDA_VISIBLE_DEVICES $CUDA_MPS_PIPE_DIRECTORY" >> record
    trap 'echo end >> record; rm -f pid; exit 0' TERM
    echo "Control: accepting"
    sleep 1000 & echo $! > server
    echo $$ > pid
    wait
fi
if [ -e mute ] || ! kill -0 "$(cat pid 2> /dev/null)" 2> /dev/null; then
    echo "Cannot find MPS control daemon process"
    exit 1
fi
while read -r line; do
    [ "$line" = get_server_list ] || echo "$line" >> record
    [ "$line" != quit ] || kill "$(cat pid)" "$(cat server)"
    while [ "$line" = quit ] && [ -e pid ]; do sleep 0.02; done
done
"#;

struct Daemon(PathBuf);

impl Daemon {
    /// A node with two GPUs and this program.
    fn on(config: &str, script: &str) -> Option<(Node, Daemon)> {
        let node = with_gpus(config, &[("gpus", &two([-1, -1]))])?;
        let notes = node.folder.path().join("notes");
        std::fs::create_dir(&notes).unwrap();
        let daemon = Daemon(notes);
        daemon.install(&node, script);
        Some((node, daemon))
    }

    /// At once: a file that is being written cannot be run.
    fn install(&self, node: &Node, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let new = self.0.join("program");
        std::fs::write(&new, script.replace("NOTES", self.0.to_str().unwrap())).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, node.root().join(PROGRAM)).unwrap();
    }

    fn record(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("record")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn pid(&self, of: &str) -> i32 {
        std::fs::read_to_string(self.0.join(of)).unwrap().trim().parse().unwrap()
    }
}

/// A case that fails leaves no process behind either.
impl Drop for Daemon {
    fn drop(&mut self) {
        for of in ["pid", "server"] {
            let text = std::fs::read_to_string(self.0.join(of)).unwrap_or_default();
            // Of most cases it has ended.
            if let Ok(pid) = text.trim().parse()
                && runs(pid)
            {
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        }
    }
}

/// A process that waits for its parent to notice has ended.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(what: &str, plugin: &Plugin, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never {what}:\n{}", plugin.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Why `device` cannot be had, as soon as the reason says `text`.
async fn until_refused(kubelet: &Kubelet, device: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = kubelet.allocate(SHARED, &[device]).await;
        if let Err(refused) = &answer
            && refused.message().contains(text)
        {
            return assert_eq!(refused.code(), Code::Unavailable);
        }
        assert!(Instant::now() < deadline, "{text:?} is not the reason: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn without_a_rule_that_wants_it_no_daemon_runs() {
    let config = CONFIG.replace("mode: mps", "mode: time-slicing");
    let Some((node, daemon)) = Daemon::on(&config, SCRIPT) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    kubelet.until_allocatable(WHOLE, 1).await.unwrap();
    assert_eq!(plugin.stop().await.code(), Some(0));
    assert!(daemon.record().is_empty() && !node.mps().exists());
}

#[tokio::test]
async fn shares_are_to_be_had_when_the_daemon_enforces_them() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    std::fs::write(daemon.0.join("mute"), "").unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(WHOLE, 1).await.unwrap();
    let list = kubelet.until_allocatable(SHARED, 0).await.unwrap();
    assert_eq!(ids(&list), ["GPU-a::0", "GPU-a::1", "GPU-a::2", "GPU-a::3"]);
    until_refused(&kubelet, "GPU-a::1", "the MPS daemon is being started").await;
    std::fs::remove_file(daemon.0.join("mute")).unwrap();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let pipe = node.mps().join("pipe").to_str().unwrap().to_owned();
    let record = [
        format!("start GPU-a {pipe}"),
        "set_default_device_pinned_mem_limit GPU-a 35942M".to_owned(),
        "set_default_active_thread_percentage 25".to_owned(),
    ];
    assert_eq!(daemon.record(), record);
    let answer = kubelet.allocate(SHARED, &["GPU-a::1"]).await.unwrap();
    let container = &answer.container_responses[0];
    assert_eq!(container.envs["CUDA_MPS_PIPE_DIRECTORY"], "/run/nvidia/mps");
    assert_eq!(container.envs["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"], "25");
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .map(|mount| (mount.container_path.as_str(), mount.host_path.clone(), mount.read_only))
        .collect();
    let shm = node.mps().join("shm").to_str().unwrap().to_owned();
    assert_eq!(mounts, [("/run/nvidia/mps", pipe, false), ("/dev/shm", shm, false)]);
    let two = kubelet.allocate(SHARED, &["GPU-a::1", "GPU-a::2"]).await.unwrap_err();
    assert!(two.message().contains("failRequestsGreaterThanOne"), "{two}");
    let other = kubelet.allocate(WHOLE, &["GPU-b"]).await.unwrap();
    assert!(!other.container_responses[0].envs.contains_key("CUDA_MPS_PIPE_DIRECTORY"));
}

#[tokio::test]
async fn a_daemon_that_dies_takes_its_own_shares_away_until_it_runs_again() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    kubelet.until_allocatable(WHOLE, 1).await.unwrap();
    let (first, server) = (daemon.pid("pid"), daemon.pid("server"));
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    kubelet.until_allocatable(SHARED, 0).await.unwrap();
    let reason = "the MPS daemon is not running: it ended with signal: 9 (SIGKILL): Control: accepting";
    until_refused(&kubelet, "GPU-a::0", reason).await;
    kubelet.allocate(WHOLE, &["GPU-b"]).await.unwrap();
    until("without what the daemon had started", &plugin, || !runs(server)).await;
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    assert!(daemon.pid("pid") != first && runs(daemon.pid("pid")));
}

#[tokio::test]
async fn the_daemon_ends_when_nobody_wants_it_and_with_the_plugin() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let (first, server) = (daemon.pid("pid"), daemon.pid("server"));
    node.configure(&CONFIG.replace("mode: mps", "mode: time-slicing"));
    until("without the daemon", &plugin, || !runs(first) && !runs(server)).await;
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    node.configure(CONFIG);
    until("with a daemon again", &plugin, || daemon.0.join("pid").exists()).await;
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let (second, server) = (daemon.pid("pid"), daemon.pid("server"));
    assert_eq!(plugin.stop().await.code(), Some(0));
    assert!(!runs(second) && !runs(server));
    assert_eq!(daemon.record().iter().filter(|line| *line == "end").count(), 2);
}

#[tokio::test]
async fn a_daemon_sees_every_gpu_that_is_shared_by_it() {
    let config = CONFIG.replace(", uuid: GPU-a", "");
    let Some((node, daemon)) = Daemon::on(&config, SCRIPT) else { return };
    tell(&node, "gpus", two([-1, -1]).lines().next().unwrap());
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    tell(&node, "gpus", &two([-1, -1]));
    node.add_device("nudge", 3);
    kubelet.until_allocatable(SHARED, 8).await.unwrap();
    assert!(daemon.record().iter().any(|line| line.starts_with("start GPU-a,GPU-b ")), "{}", plugin.log());
    // Fewer need no other daemon.
    let starts = || daemon.record().iter().filter(|line| line.starts_with("start")).count();
    let before = starts();
    tell(&node, "gpus", two([-1, -1]).lines().next().unwrap());
    node.add_device("nudge-2", 5);
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    assert_eq!(starts(), before);
}

#[tokio::test]
async fn why_there_is_no_daemon_is_told_and_it_is_tried_ever_less_often() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    std::fs::remove_file(node.root().join(PROGRAM)).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(WHOLE, 1).await.unwrap();
    let missing = "there is no /usr/bin/nvidia-cuda-mps-control on the node: install the programs";
    until_refused(&kubelet, "GPU-a::0", missing).await;
    daemon.install(&node, "#!/bin/sh\necho starting >&2\necho 'no GPU is left' >&2\nexit 3\n");
    let failed = "the MPS daemon is not running: it ended with exit status: 3: no GPU is left";
    until_refused(&kubelet, "GPU-a::0", failed).await;
    plugin.until_logged("started again in 2s").await;
    for wait in ["250ms", "500ms", "1s", "2s"] {
        assert_eq!(plugin.log().matches(&format!("started again in {wait}")).count(), 1, "{}", plugin.log());
    }
    daemon.install(&node, SCRIPT);
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
}

#[tokio::test]
async fn parts_of_a_gpu_are_not_shared_by_it() {
    let Some((node, daemon)) = Daemon::on(&CONFIG.replace(", uuid: GPU-a", ""), SCRIPT) else { return };
    tell(&node, "gpus", &two([-1, -1]).replacen("|0|-1|", "|1|-1|", 1));
    tell(&node, "parts", "GPU-a|MIG-1|NVIDIA H200 MIG 1g.18gb|19327352832|7|0\n");
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    plugin.until_logged("MIG-1 is a part of a GPU in MIG mode, which cannot be shared by MPS as well").await;
    let list = kubelet.until_allocatable(SHARED, 4).await.unwrap();
    assert!(ids(&list).iter().all(|id| id.starts_with("GPU-b::")), "{list:?}");
    assert!(daemon.record()[0].starts_with("start GPU-b "));
}

#[tokio::test]
async fn what_a_killed_plugin_left_behind_is_told_to_end() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let mut plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let first = daemon.pid("pid");
    plugin.child.start_kill().unwrap();
    plugin.wait().await;
    assert!(runs(first), "this is what is to be mended");
    let plugin = node.run();
    plugin.until_logged("an MPS daemon of an earlier run was told to end").await;
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    until("without the first daemon", &plugin, || !runs(first)).await;
    assert!(daemon.pid("pid") != first && runs(daemon.pid("pid")));
    plugin.stop().await;
}

#[tokio::test]
async fn a_daemon_that_will_not_end_is_ended() {
    let script = SCRIPT.replace("trap 'echo end >> record; rm -f pid; exit 0' TERM", "trap '' TERM");
    let Some((node, daemon)) = Daemon::on(CONFIG, &script) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let (stubborn, server) = (daemon.pid("pid"), daemon.pid("server"));
    assert_eq!(plugin.stop().await.code(), Some(0));
    assert!(!runs(stubborn) && !runs(server));
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_has_no_shares_to_give() {
    let Some((node, daemon)) = Daemon::on(CONFIG, SCRIPT) else { return };
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    // Nothing is mounted at /dev/shm here.
    assert!(plugin.log().contains("mount the host's"), "{}", plugin.log());
    std::fs::write(daemon.0.join("mute"), "").unwrap();
    kubelet.until_allocatable(SHARED, 0).await.unwrap();
    let reason = "the MPS daemon does not answer: get_server_list: exit status: 1: Cannot find MPS control";
    until_refused(&kubelet, "GPU-a::0", reason).await;
    std::fs::remove_file(daemon.0.join("mute")).unwrap();
    kubelet.until_allocatable(SHARED, 4).await.unwrap();
    let starts = daemon.record().iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts, 1, "it is given time");
}
