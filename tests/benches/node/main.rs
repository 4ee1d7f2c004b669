//! `cargo bench --bench node [-- --gate] [--rounds N] [--peers N]`: what a node agent needs among 5,000
//! others.
//!
//! The release build on a node of its own, with the API server's stand-in: how long from its start until
//! everything that links it with all peers is in the kernel, on one link (a route each) and behind a router
//! (a route, a table entry, a neighbour and a forwarding entry each); how soon one more peer has its routes;
//! what it costs to do nothing; and its memory. Ends in one JSON line.

#[path = "../device/latency.rs"]
#[expect(dead_code, reason = "other benches need more of it")]
mod latency;
#[path = "../options.rs"]
mod options;
#[path = "../device/report.rs"]
#[expect(dead_code, reason = "other benches need more of it")]
mod report;
mod site;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use latency::Latency;
use options::Options;
use report::Report;
use site::{Site, Way};

fn main() -> ExitCode {
    let options = Options::read("peers", 1, 5000);
    let mut report = Report::new("node");
    if !tripod_tests::namespace::privileged() {
        return ExitCode::SUCCESS;
    }
    for way in [Way::Link, Way::Router] {
        measure(&mut report, options, way);
    }
    let kept = report.finish();
    if kept || !options.gate { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(report: &mut Report, options: Options, way: Way) {
    let (name, peers) = (way.name(), options.count);
    let mut site = Site::new(way);
    (0..peers).for_each(|number| site.join(number));
    let begin = Instant::now();
    site.start();
    site.wait_for_routes(peers);
    report.plain(&format!("{peers} peers {name}: linked after a start, ms"), millis(begin.elapsed()));
    report.plain(
        &format!("{peers} peers {name}: processor time until then, ms"),
        millis(site.processor_time()),
    );
    let joined: Vec<Duration> = (0..10).map(|extra| joins(&site, peers + extra)).collect();
    report.times(&format!("{peers} peers {name}: one more is linked"), &Latency::new(joined));
    // What the last of them set off is over by then.
    std::thread::sleep(Duration::from_secs(3));
    let (before, window) = (site.processor_time(), Duration::from_secs(20));
    std::thread::sleep(window);
    let idle = (site.processor_time() - before).as_secs_f64() / window.as_secs_f64();
    report.plain(&format!("{peers} peers {name}: idle, % of a processor"), 100.0 * idle);
    report.plain(&format!("{peers} peers {name}: memory, MiB"), site.memory_mib());
    report.at_most(&format!("{peers} peers {name}: memory, MiB"), site.memory_mib(), 96.0);
    report.at_most(&format!("{peers} peers {name}: idle, % of a processor"), 100.0 * idle, 5.0);
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
