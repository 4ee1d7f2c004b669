//! `cargo bench --bench credential [-- --gate] [--rounds N] [--calls N]`: how long an image pull waits for the
//! credential provider, and how often a registry's cloud is asked.
//!
//! The release build on an internet of its own, with far ends that verify every signature: an answer from the cache
//! beside a static C program that does nothing; twenty images at once on a node that has just started; a hundred pods
//! of one service account; and Debian's `amazon-ecr-credential-helper` before the same far end. Rounds take turns,
//! and of several the best counts. Ends in one JSON line; with `--gate` it fails when a limit is missed.

mod helper;
#[path = "../device/latency.rs"]
#[expect(dead_code, reason = "the device bench asks it more")]
mod latency;
#[path = "../options.rs"]
mod options;
#[path = "../device/report.rs"]
#[expect(dead_code, reason = "the device bench asks it more")]
mod report;
mod site;

use std::process::ExitCode;

use latency::Latency;
use options::Options;
use report::Report;
use site::{Cost, Site};

const MIB: f64 = 1024.0 * 1024.0;

fn main() -> ExitCode {
    let options = Options::read("calls", 3, 200);
    let Some(mut site) = Site::new() else { return ExitCode::FAILURE };
    let mut report = Report::new("credential");
    hit(&site, &mut report, options);
    let size = std::fs::metadata(site.program()).expect("the program").len();
    report.at_most("size of the program, MiB", size as f64 / MIB, 6.0);
    twenty_images(&site, &mut report, options);
    hundred_pods(&site, &mut report);
    helper::beside(&mut site, &mut report, options);
    let kept = report.finish();
    if kept || !options.gate { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An answer from the cache, beside a program that does nothing.
fn hit(site: &Site, report: &mut Report, options: Options) {
    let cold = site.cost_of_an_answer();
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let costs: Vec<(Cost, Cost)> =
            (0..options.count).map(|_| (site.cost_of_nothing(), site.cost_of_an_answer())).collect();
        let nothing = Latency::new(costs.iter().map(|(nothing, _)| nothing.wall));
        let answer = Latency::new(costs.iter().map(|(_, answer)| answer.wall));
        let memory = costs.iter().map(|(_, answer)| answer.memory_kib).max().unwrap_or_default();
        rounds.push((answer.p50() / nothing.p50(), nothing, answer, memory));
    }
    assert_eq!(site.requests(), 1, "all but the first were answered from the cache");
    let best = rounds.iter().min_by(|one, other| one.0.total_cmp(&other.0)).expect("rounds");
    report.times("a static program that does nothing", &best.1);
    report.times("an answer from the cache", &best.2);
    report.at_most("an answer from the cache, times nothing", best.0, 2.0);
    report.plain("an answer that is fetched, ms", cold.wall.as_secs_f64() * 1e3);
    report.plain("memory of an answer from the cache, MiB", best.3 as f64 / 1024.0);
    report.at_most("memory of an answer that is fetched, MiB", cold.memory_kib as f64 / 1024.0, 12.0);
}

/// Twenty images of ten registries at once.
fn twenty_images(site: &Site, report: &mut Report, options: Options) {
    let walls = (0..options.rounds).map(|_| {
        site.forget();
        let wall = site.pull_at_once(20);
        assert_eq!(site.requests(), 1, "one request for all of them");
        wall
    });
    let walls: Vec<_> = walls.collect();
    report.times("20 images at once, cold", &Latency::new(walls));
    report.at_most("requests for 20 images at once, cold", site.requests() as f64, 1.0);
}

/// A hundred pods of one service account, each with a token of its own.
fn hundred_pods(site: &Site, report: &mut Report) {
    site.forget();
    let wall = site.pull_for_pods(100);
    report.plain("100 pods of one account at once, cold, ms", wall.as_secs_f64() * 1e3);
    report.at_most("exchanges for 100 pods of one account", site.exchanges() as f64, 1.0);
    report.at_most("requests for 100 pods of one account", site.requests() as f64, 1.0);
}
