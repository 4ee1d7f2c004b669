//! `cargo bench --bench device [-- --gate] [--rounds N] [--calls N]`: how long the kubelet waits for the
//! device plugin.
//!
//! Over the real sockets of the release build, with the kubelet stand-in as the caller: Allocate and
//! GetPreferredAllocation at 10,000 devices, and how soon a plugin is registered again after
//! `kubelet.sock` has appeared. In this process, since no machine at hand has the cards: the choice among
//! 16 linked cards, beside a search that looks at every set one pair at a time; among shares; among parts of
//! cards; and among 10,000 devices.
//!
//! What runs in this process is measured in processor time, what goes over sockets by the clock. Who else
//! uses the machine makes calls slower and never faster: of several rounds the best counts. Ends in one
//! JSON line, in milliseconds; with `--gate` it fails when a limit is missed. Limits of what runs in this
//! process count when it is optimised: with `--profile dev` they are told and not judged.

mod choosing;
mod inventories;
mod latency;
mod process;
mod report;
mod serving;
mod slow_search;

use std::process::ExitCode;

use report::Report;

/// What was asked for on the command line.
#[derive(Clone, Copy)]
struct Options {
    gate: bool,
    rounds: usize,
    calls: usize,
}

fn main() -> ExitCode {
    let options = options();
    let mut report = Report::new("device");
    choosing::linked(&mut report, options);
    choosing::shares(&mut report, options);
    choosing::parts(&mut report, options);
    choosing::many(&mut report, options);
    // Device nodes are made as root only.
    if tripod_tests::namespace::privileged() {
        serving::measure(&mut report, options);
    }
    let kept = report.finish();
    if kept || !options.gate { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Cargo adds `--bench`.
fn options() -> Options {
    let mut options = Options { gate: false, rounds: 8, calls: 500 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|text| text.parse().ok()).expect("a number after the option");
        match word.as_str() {
            "--gate" => options.gate = true,
            "--rounds" => options.rounds = number(),
            "--calls" => options.calls = number(),
            "--bench" => {}
            other => panic!("unknown option {other:?}; known: --gate, --rounds N, --calls N"),
        }
    }
    options
}
