//! `cargo bench --bench node [-- --gate] [--rounds N] [--peers N]`: what a node agent needs among 5,000
//! others.
//!
//! The release build on a node of its own, with the API server's stand-in: how long from its start until
//! everything that links it with all peers is in the kernel, on one link (a route each) and behind a router
//! (a route, a table entry, a neighbour and a forwarding entry each); how soon one more peer has its routes;
//! what it costs to do nothing; and its memory. Before that, how much pods of two nodes send each other beside
//! links made by hand. Ends in one JSON line.

mod heartbeats;
#[path = "../device/latency.rs"]
#[expect(dead_code, reason = "other benches need more of it")]
mod latency;
mod links;
#[path = "../options.rs"]
mod options;
#[path = "../device/report.rs"]
#[expect(dead_code, reason = "other benches need more of it")]
mod report;
mod site;
#[path = "../cni/statistics.rs"]
mod statistics;
#[path = "../throughput.rs"]
mod throughput;
mod watcher;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use latency::Latency;
use links::Backend;
use options::Options;
use report::Report;
use serde_json::json;
use site::{Site, Way};

fn main() -> ExitCode {
    let options = Options::read("peers", 1, 5000);
    let mut report = Report::new("node");
    if !tripod_tests::namespace::privileged() {
        return ExitCode::SUCCESS;
    }
    for backend in [Backend::Direct, Backend::Vxlan] {
        pod_to_pod(&mut report, backend);
    }
    for way in [Way::Link, Way::Router] {
        measure(&mut report, options, way);
    }
    let kept = report.finish();
    if kept || !options.gate { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pod_to_pod(report: &mut Report, backend: Backend) {
    let name = format!("pod to pod, {}", backend.name());
    let (ratios, by_hand) = links::ratios(backend);
    let (low, high) = statistics::median_interval(&ratios);
    let (median, rate) = (statistics::median(&ratios), statistics::median(&by_hand));
    println!(
        "{name}: {median:.3} times the hand-made links' {rate:.1} Gbit/s, 95 % interval {low:.3} to {high:.3}, {} pairs",
        ratios.len()
    );
    report.figure(&name, json!({"median": median, "low": low, "high": high, "by_hand_gbit": rate}));
    // Missed when the interval says so, not when chance does.
    report.at_most(&format!("{name}: hand-made, times ours (lower end)"), 1.0 / high, 1.0 / 0.97);
}

fn measure(report: &mut Report, options: Options, way: Way) {
    let (name, peers) = (way.name(), options.count);
    let mut site = Site::new(way);
    (0..peers).for_each(|number| site.join(number));
    let begin = Instant::now();
    site.start();
    site.wait_for_routes(peers);
    report.plain(&format!("{peers} peers {name}: linked after a start, ms"), millis(begin.elapsed()));
    let spent = millis(site.processor_time());
    report.at_most(&format!("{peers} peers {name}: processor time until then, ms"), spent, 2000.0);
    report.plain(&format!("{peers} peers {name}: bytes on the wire until then, MB"), site.wire_bytes() / 1e6);
    let joined: Vec<Duration> = (0..10).map(|extra| joins(&site, peers + extra)).collect();
    report.times(&format!("{peers} peers {name}: one more is linked"), &Latency::new(joined));
    moves(report, &site, &format!("{peers} peers {name}"), peers.min(1000));
    // What the last of them set off is over by then.
    std::thread::sleep(Duration::from_secs(3));
    rests(report, &site, &format!("{peers} peers {name}"), peers);
}

/// What is needed when so many peers change at once.
fn moves(report: &mut Report, site: &Site, name: &str, count: usize) {
    let (begin, looks, spent) = (Instant::now(), site.looks(), site.processor_time());
    (0..count).for_each(|number| site.moves(number));
    site.wait_for_routes_to("10.64.0.0/10", count);
    report
        .plain(&format!("{name}: {count} change at once, ms until all are linked"), millis(begin.elapsed()));
    // The look that made the last route ends, and is counted, after that.
    std::thread::sleep(Duration::from_secs(1));
    let spent = millis(site.processor_time() - spent);
    report.plain(&format!("{name}: {count} change at once, processor time, ms"), spent);
    report.at_most(&format!("{name}: looks when {count} change at once"), site.looks() - looks, 10.0);
}

/// What is needed while nothing happens but that kubelets report.
fn rests(report: &mut Report, site: &Site, name: &str, peers: usize) {
    let (spent, asked, window) = (site.processor_time(), site.requests(), Duration::from_secs(20));
    let wire = |work: &dyn Fn()| {
        let before = site.wire_bytes();
        work();
        site.wire_bytes() - before
    };
    let hours = |period: Duration| 3600.0 / period.as_secs_f64() / 1e6;
    let quiet = wire(&|| site.report(peers, window)) * hours(window);
    let idle = 100.0 * (site.processor_time() - spent).as_secs_f64() / window.as_secs_f64();
    let own = wire(&|| {
        site.report_own();
        std::thread::sleep(Duration::from_secs(1));
    });
    let ours = quiet + own * hours(heartbeats::PERIOD);
    let asked = site.requests() - asked;
    let watcher = site.watch_all_nodes();
    std::thread::sleep(Duration::from_secs(1));
    let all = wire(&|| site.report(peers, window)) * hours(window) - quiet;
    drop(watcher);
    assert!(all > 0.0, "who watches all Nodes is told of each that reports");
    report.plain(&format!("{name}: on the wire while nothing happens, MB an hour"), ours);
    report.plain(&format!("{name}: the same of who watches all Nodes"), all);
    report.at_most(&format!("{name}: requests while nothing happens"), asked as f64, 0.0);
    report.at_most(&format!("{name}: idle, % of a processor"), idle, 5.0);
    report.at_most(&format!("{name}: memory, MiB"), site.memory_mib(), 60.0);
}

/// How long until a peer that joins has its route.
fn joins(site: &Site, number: usize) -> Duration {
    let begin = Instant::now();
    site.join(number);
    site.wait_for_routes(number + 1);
    begin.elapsed()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
