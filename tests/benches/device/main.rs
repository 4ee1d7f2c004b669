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
#[path = "../options.rs"]
mod options;
mod process;
mod report;
mod serving;
mod slow_search;

use std::process::ExitCode;

use options::Options;
use report::Report;

fn main() -> ExitCode {
    let options = Options::read("calls", 8, 500);
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
