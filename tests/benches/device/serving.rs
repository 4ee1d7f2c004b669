//! Over the sockets, as the kubelet does it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;
use tripod_tests::daemon::Daemon;
use tripod_tests::kubelet::{Happening, Kubelet};
use tripod_tests::programs::{self, Profile};

use crate::latency::Latency;
use crate::options::Options;
use crate::process;
use crate::report::Report;

pub(crate) const RESOURCE: &str = "example.com/many";
const DEVICES: usize = 10_000;
/// Times that the kubelet starts anew in one round.
const RESTARTS: usize = 20;

/// What takes place between the kubelet and the plugin.
pub(crate) fn measure(report: &mut Report, options: Options) {
    let folder = programs::build(Profile::Release, &["tripod-device-plugin"]).expect("the release build");
    let program = folder.join("tripod-device-plugin");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        many_devices(report, options, &program).await;
        registering(report, options, &program).await;
        process::measure(report, options, &program).await;
    });
}

async fn many_devices(report: &mut Report, options: Options, program: &Path) {
    let node = Node::new(DEVICES);
    let kubelet = Kubelet::start(node.plugins()).await.expect("a kubelet");
    let _plugin = node.run(program);
    let list = kubelet.until_allocatable(RESOURCE, DEVICES).await.expect("all devices");
    let ids: Vec<String> = list.into_iter().map(|device| device.id).collect();

    let nothing =
        calls(options, async |_| drop(kubelet.allocate(RESOURCE, &[]).await.expect("nothing"))).await;
    report.times("Allocate, no device", &nothing);
    let allocate = calls(options, async |number| {
        let id = &ids[number * 7919 % ids.len()];
        let answer = kubelet.allocate(RESOURCE, &[id]).await.expect("a device");
        assert_eq!(answer.container_responses[0].devices.len(), 1);
    })
    .await;
    report.times("Allocate, one of 10,000 devices", &allocate);
    report.at_most("Allocate at 10,000 devices, p99 ms", allocate.p99(), 1.0);
    for available in [16, DEVICES] {
        let preferred = calls(options, async |_| {
            let answer = kubelet.preferred(RESOURCE, &ids[..available], &[], 8).await.expect("an answer");
            assert_eq!(answer.len(), 8);
        })
        .await;
        report.times(&format!("GetPreferredAllocation, 8 of {available} devices"), &preferred);
        if available == 16 {
            report.at_most("GetPreferredAllocation among 16 devices, p99 ms", preferred.p99(), 1.0);
        }
    }
}

/// From the moment at which the new socket listens to the registration that the kubelet has taken.
async fn registering(report: &mut Report, options: Options, program: &Path) {
    let node = Node::new(16);
    let mut kubelet = Kubelet::start(node.plugins()).await.expect("a kubelet");
    let _plugin = node.run(program);
    let mut rounds = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let mut taken = Vec::new();
        for _ in 0..RESTARTS {
            kubelet.until_allocatable(RESOURCE, 16).await.expect("all devices");
            let listening = kubelet.restart().await.expect("a kubelet");
            let registered = |view: &tripod_tests::kubelet::View| {
                let last = view.events.iter().rfind(|event| event.what == Happening::Registered)?;
                (last.at > listening).then(|| last.at.duration_since(listening))
            };
            taken.push(kubelet.until("a registration", registered).await.expect("a registration"));
        }
        rounds.push(Latency::new(taken));
    }
    let best = Latency::best(rounds);
    report.times("registered after kubelet.sock appeared", &best);
    report.at_most("registered after kubelet.sock appeared, ms", best.p99(), 50.0);
    // While the folder is there that it keeps its checkpoint in.
    kubelet.stop().await;
}

async fn calls(options: Options, call: impl AsyncFn(usize)) -> Latency {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let mut durations: Vec<Duration> = Vec::new();
        for number in 0..options.count.max(1) {
            let begin = Instant::now();
            call(number).await;
            durations.push(begin.elapsed());
        }
        rounds.push(Latency::new(durations));
    }
    Latency::best(rounds)
}

/// A made node whose `/dev` holds nodes of the kernel's memory devices.
pub(crate) struct Node(TempDir);

impl Node {
    pub(crate) fn new(devices: usize) -> Self {
        let node = Self(tempfile::tempdir().expect("a folder"));
        let dev = node.root().join("dev");
        std::fs::create_dir_all(&dev).expect("a folder");
        std::fs::create_dir_all(node.plugins()).expect("a folder");
        for number in 0..devices {
            let minor = u64::try_from(number).expect("a small number");
            let path = dev.join(format!("many{number:05}"));
            mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, minor)).expect("a node");
        }
        let config =
            format!("version: v1\nresources:\n- name: {RESOURCE}\n  match: {{paths: [/dev/many*]}}\n");
        std::fs::write(node.config(), config).expect("a config");
        node
    }

    pub(crate) fn unplug(&self, number: usize) {
        std::fs::remove_file(self.root().join(format!("dev/many{number:05}"))).expect("a node");
    }

    pub(crate) fn run(&self, program: &Path) -> Daemon {
        let mut command = Command::new(program);
        command.args(["run", "--health-addr", "", "--metrics-addr", "", "--log-level", "warn"]);
        command.arg("--config").arg(self.config()).arg("--cdi-dir").arg(self.0.path().join("cdi"));
        command.arg("--host-root").arg(self.root()).arg("--plugin-dir").arg(self.plugins());
        Daemon::start(command)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("host")
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.0.path().join("device-plugins")
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("device-plugin.yaml")
    }
}
