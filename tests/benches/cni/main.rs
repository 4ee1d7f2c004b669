//! `cargo bench --bench cni [-- --gate] [--rounds N] [--pods N]`: what an ADD and a DEL take, exec
//! included, beside the floor (`tests/floor/floor.c`: a static C program that makes the same kernel calls
//! and nothing else) and the reference plugins, where `target/cluster/bin` holds them.
//!
//! All take turns in one run, so that ratios hold on any machine. Who else uses the machine makes calls
//! slower and never faster: of several rounds the best median counts, for everybody. Ends in one JSON
//! line, in milliseconds; with `--gate` it fails when a limit is missed.

mod contender;
#[path = "../options.rs"]
mod options;
mod report;
mod rows;
mod setup;
mod statistics;
#[path = "../throughput.rs"]
mod throughput;
mod transfer;

use std::process::ExitCode;

use serde_json::json;
use setup::Programs;
use tripod_tests::namespace::privileged;

use contender::Contender;
use options::Options;
use report::Report;
use rows::{Row, Sandboxes};

/// Leases of other pods, in one run.
const LEASES: u32 = 60_000;

/// Of others over UDP, that the node keeps track of.
const FLOWS: u16 = 10_000;

fn main() -> ExitCode {
    let options = Options::read("pods", 3, 100);
    if !privileged() {
        return ExitCode::FAILURE;
    }
    let programs = Programs::build();
    let mut report = Report::default();
    report.figure("bench", json!("cni"));
    size(&mut report, &programs);
    let sandboxes = Sandboxes::new(options.count.max(rows::AT_ONCE));
    plain(&mut report, &programs, &sandboxes, &options);
    with_port(&mut report, &programs, &sandboxes, &options);
    tracked_flows(&mut report, &programs, &sandboxes, &options);
    many_leases(&mut report, &programs, &sandboxes, &options);
    pod_to_pod(&mut report, &programs);
    let kept = report.finish();
    if kept || !options.gate { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn size(report: &mut Report, programs: &Programs) {
    let bytes = std::fs::metadata(&programs.tripod).expect("the program").len();
    report.figure("program_bytes", json!(bytes));
    report.at_most("program, MB", bytes as f64 / 1e6, 3.0);
}

fn plain(report: &mut Report, programs: &Programs, sandboxes: &Sandboxes, options: &Options) {
    let all = programs.plain();
    let row = rows::one_by_one(&all, sandboxes, options.rounds, options.count, |_| {});
    report.times("plain", &row);
    let (floor, ours) = (of(&row, "floor"), of(&row, "tripod-cni"));
    report.at_most("ADD, times the floor", ours.0.p50() / floor.0.p50(), 1.4);
    report.at_most("ADD, times the floor's processor time", ours.0.cpu() / floor.0.cpu(), 1.4);
    report.at_most("DEL, ms above the floor", ours.1.p50() - floor.1.p50(), 1.0);
    report.at_most("ADD, p99 to p50", ours.0.spread(), 3.0);
    report.at_most("DEL, p99 to p50", ours.1.spread(), 3.0);
    report.at_most(
        "most memory of ADD and DEL, MiB",
        ours.0.max_rss_kib.max(ours.1.max_rss_kib) as f64 / 1024.0,
        4.0,
    );
    if all.len() > 2 {
        let bridge = of(&row, "bridge");
        report.figure(
            "plain.bridge_to_ours",
            json!({
            "add": bridge.0.p50() / ours.0.p50(), "del": bridge.1.p50() / ours.1.p50()}),
        );
    }
    let rates = rows::at_once(&all, sandboxes, options.rounds);
    report.rates("16 at once", &rates);
    report.at_least("ADDs at once, times the floor's rate", rates[1].1 / rates[0].1, 0.75);
    report.at_least("DELs at once, times the floor's rate", rates[1].2 / rates[0].2, 0.9);
}

fn with_port(report: &mut Report, programs: &Programs, sandboxes: &Sandboxes, options: &Options) {
    let all = match programs.with_port() {
        Ok(all) => all,
        Err(reason) => return println!("with a host port: left out, since tripod-cni says: {reason}"),
    };
    let row = rows::one_by_one(&all, sandboxes, options.rounds, options.count, |_| {});
    report.times("with port", &row);
    let (floor, ours) = (of(&row, "floor"), of(&row, "tripod-cni"));
    report.at_most("ADD with port, times the floor", ours.0.p50() / floor.0.p50(), 1.5);
    report.at_most("DEL with port, ms above the floor", ours.1.p50() - floor.1.p50(), 1.0);
    if all.len() > 2 {
        let chain = of(&row, "bridge+portmap");
        report.at_least("ADD with port, times faster than the chain", chain.0.p50() / ours.0.p50(), 25.0);
    }
    let rates = rows::at_once(&all, sandboxes, options.rounds);
    report.rates("16 with port", &rates);
    report.at_least("ADDs with port at once, times the floor's rate", rates[1].1 / rates[0].1, 0.5);
    report.at_least("DELs with port at once, times the floor's rate", rates[1].2 / rates[0].2, 0.5);
}

/// What it costs to look among other people's flows for those that would miss a UDP port's pod.
fn tracked_flows(report: &mut Report, programs: &Programs, sandboxes: &Sandboxes, options: &Options) {
    let all = [programs.tripod_with_port("tcp", "tcp"), programs.tripod_with_port("udp", "udp")];
    let begin_flows = |contender: &Contender| contender.node.run(begin_flows);
    // The first pod's rules make the kernel track.
    for contender in &all {
        contender.call("ADD", options.count, sandboxes.of(2, 0));
        contender.call("DEL", options.count, sandboxes.of(2, 0));
        begin_flows(contender);
    }
    let row = rows::one_by_one(&all, sandboxes, options.rounds, options.count.div_ceil(2), |_| {});
    report.times("10,000 flows", &row);
    all.iter().for_each(|contender| {
        let tracked = contender.node.sh("cat /proc/sys/net/netfilter/nf_conntrack_count");
        println!("10,000 flows {:<16} {} flows are tracked at the end", contender.name, tracked.trim());
    });
}

/// Each to a port of its own, where nobody answers.
fn begin_flows() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for port in 1..=FLOWS {
        // That one is refused the next one is told, and has to be sent again.
        let sent = (0..2).any(|_| socket.send_to(b"x", ("127.0.0.2", port)).is_ok());
        assert!(sent, "port {port}");
    }
}

/// Every ADD is sent to the beginning of the longest run of taken addresses.
fn many_leases(report: &mut Report, programs: &Programs, sandboxes: &Sandboxes, options: &Options) {
    let all = [programs.tripod("no leases", setup::conf()), programs.tripod("60,000 leases", setup::conf())];
    all[1].node.run(|| {
        let folder = std::path::Path::new("/run/tripod/ipam/bench");
        std::fs::create_dir_all(folder).expect("a folder");
        let first = u32::from(std::net::Ipv4Addr::new(10, 1, 0, 2));
        for number in first..first + LEASES {
            let address = std::net::Ipv4Addr::from(number).to_string();
            std::fs::write(folder.join(address), "other\r\neth0").expect("room for a lease");
        }
    });
    let at_the_beginning = |contender: &Contender| {
        contender.node.run(|| {
            let last = std::path::Path::new("/run/tripod/ipam/bench/last_reserved_ip.0");
            drop(std::fs::write(last, "10.1.0.1"));
        });
    };
    let row = rows::one_by_one(&all, sandboxes, options.rounds, options.count.div_ceil(2), at_the_beginning);
    report.times("leases", &row);
    let (none, many) = (of(&row, "no leases"), of(&row, "60,000 leases"));
    report.at_most("ADD with 60,000 leases, times with none", many.0.p50() / none.0.p50(), 1.1);
}

fn pod_to_pod(report: &mut Report, programs: &Programs) {
    let tripod = programs.tripod("tripod-cni", setup::conf());
    let (ratios, by_hand) = transfer::ratios(&tripod);
    let (low, high) = statistics::median_interval(&ratios);
    let (median, rate) = (statistics::median(&ratios), statistics::median(&by_hand));
    println!(
        "pod to pod   {median:.3} times the hand-made pods' {rate:.1} Gbit/s, 95 % interval {low:.3} to {high:.3}, {} pairs",
        ratios.len()
    );
    report.figure("pod_to_pod", json!({"median": median, "low": low, "high": high, "by_hand_gbit": rate}));
    // Missed when the interval says so, not when chance does.
    report.at_least("pod to pod, times hand-made (upper end)", high, 0.97);
}

fn of<'a>(row: &'a Row, who: &str) -> (&'a rows::Times, &'a rows::Times) {
    let found = row.iter().find(|(name, ..)| *name == who).expect("a contender");
    (&found.1, &found.2)
}
