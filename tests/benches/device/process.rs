//! The process itself: how soon it is of use, how soon it tells, and what it costs while nothing happens.

use std::path::Path;
use std::time::{Duration, Instant};

use tripod_tests::kubelet::{Happening, Kubelet, View};

use crate::latency::Latency;
use crate::options::Options;
use crate::report::Report;
use crate::serving::{Node, RESOURCE};

/// Devices of a well-equipped node.
const DEVICES: usize = 16;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// Processor time is counted in hundredths of a second (proc(5), `utime`).
const TICK_MS: f64 = 10.0;

pub(crate) async fn measure(report: &mut Report, options: Options, program: &Path) {
    starting(report, options, program).await;
    let node = Node::new(DEVICES);
    let mut kubelet = Kubelet::start(node.plugins()).await.expect("a kubelet");
    let plugin = node.run(program);
    kubelet.until_allocatable(RESOURCE, DEVICES).await.expect("all devices");
    unplugging(report, options, &node, &kubelet).await;
    let (before, began) = (processor_ms(plugin.id()), Instant::now());
    tokio::time::sleep(IDLE).await;
    let used = (processor_ms(plugin.id()) - before) / began.elapsed().as_secs_f64();
    report.plain("processor time while idle, ms per second", used);
    report.plain("resident memory with 16 devices, MiB", resident_mib(plugin.id()));
    report.at_most("processor time while idle, ms per second", used, 1.0);
    report.at_most("resident memory with 16 devices, MiB", resident_mib(plugin.id()), 15.0);
    kubelet.stop().await;
}

/// From the start of the program to the registration that the kubelet has taken.
async fn starting(report: &mut Report, options: Options, program: &Path) {
    let node = Node::new(DEVICES);
    let mut taken = Vec::new();
    for _ in 0..options.rounds.max(1) * 4 {
        let mut kubelet = Kubelet::start(node.plugins()).await.expect("a kubelet");
        let begin = Instant::now();
        let plugin = node.run(program);
        kubelet.until_allocatable(RESOURCE, DEVICES).await.expect("all devices");
        let registered = |view: &View| {
            view.events.iter().find(|event| event.what == Happening::Registered).map(|event| event.at)
        };
        taken.push(kubelet.look(registered).expect("a registration").duration_since(begin));
        // Before the plugin, whose end it would note in a folder that may be gone by then.
        kubelet.stop().await;
        drop(plugin);
    }
    let latency = Latency::new(taken);
    report.times("start to registered with 16 devices", &latency);
    report.at_most("start to registered with 16 devices, ms", latency.p50(), 100.0);
}

/// From a node that goes to the list that says so; 100 ms of it are for what comes along with it.
async fn unplugging(report: &mut Report, options: Options, node: &Node, kubelet: &Kubelet) {
    let mut taken = Vec::new();
    for number in 0..options.rounds.clamp(1, 12) {
        let begin = Instant::now();
        node.unplug(number);
        kubelet.until_allocatable(RESOURCE, DEVICES - number - 1).await.expect("a list");
        taken.push(begin.elapsed());
        // Lists that follow one another closely are held back.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let latency = Latency::new(taken);
    report.times("a node goes to the list without it", &latency);
    report.at_most("a node goes to the list without it, ms", latency.p99(), 250.0);
}

fn processor_ms(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    // Of what follows the name, user and system time are the 12th and 13th.
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) * TICK_MS
}

fn resident_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}
