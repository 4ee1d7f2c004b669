//! The choice itself, without sockets.

use std::hint::black_box;

use serde_json::json;
use tripod_device_plugin::config::sharing::{Placement, Sharing};
use tripod_device_plugin::inventory::Snapshot;
use tripod_device_plugin::preferred::preferred;
use tripod_proto::deviceplugin::v1beta1::PreferredAllocationRequest;

use crate::inventories::{in_fours, in_parts, machine, request, uneven, unlinked};
use crate::latency::{self, Latency};
use crate::report::{Report, rounded};
use crate::{Options, slow_search};

const CARDS: usize = 16;
/// Milliseconds.
const LIMIT: f64 = 1.0;

/// Among 16 linked cards, any number of them, against the slow search.
pub(crate) fn linked(report: &mut Report, options: Options) {
    let snapshot = machine(CARDS, uneven, Sharing::EXCLUSIVE);
    let ahead =
        latency::of(options.rounds, 20, || drop(black_box(machine(CARDS, uneven, Sharing::EXCLUSIVE))));
    report.times("16 linked cards, once for each state", &ahead);
    let mut worst = 0.0_f64;
    for size in 1..CARDS {
        let request = request(&snapshot, size);
        let ours = timed(&snapshot, &request, options);
        worst = worst.max(ours.p99());
        agrees_with_slow_search(&snapshot, size);
        if [1, 2, 3, 5, 8].contains(&size) {
            report.times(&format!("16 linked cards, {size} wanted"), &ours);
            beside_slow_search(report, size, &ours, options);
        }
    }
    report.at_most_here("preferred among 16 linked cards, any number, p99 ms", worst, LIMIT);
}

fn agrees_with_slow_search(snapshot: &Snapshot, size: usize) {
    let mut slow = slow_search::best(CARDS, size, &uneven);
    slow.set.sort_unstable();
    assert_eq!(numbers(snapshot, &request(snapshot, size)), slow.set, "{size} of {CARDS} cards");
}

fn beside_slow_search(report: &mut Report, size: usize, ours: &Latency, options: Options) {
    let every = latency::of(options.rounds, 3, || drop(black_box(slow_search::best(CARDS, size, &uneven))));
    let (took, ratio) = (every.p50(), every.p50() / ours.p50());
    println!("{:<44} p50 {took:>8.4} ms, {ratio:.0} times ours", "    every set, pair by pair");
    let name = format!("16 linked cards, {size} wanted, every set");
    report.figure(&name, json!({"ms": rounded(took), "times_ours": ratio.round()}));
}

fn numbers(snapshot: &Snapshot, request: &PreferredAllocationRequest) -> Vec<usize> {
    let answer = preferred(snapshot, request).container_responses.remove(0).device_i_ds;
    let number =
        |id: &String| snapshot.devices().iter().position(|device| device.id == *id).expect("a device");
    answer.iter().map(number).collect()
}

/// Among the shares of eight linked cards.
pub(crate) fn shares(report: &mut Report, options: Options) {
    let mut worst = 0.0_f64;
    let placements = [
        ("distributed", Placement::Distributed),
        ("packed", Placement::Packed),
        ("spread", Placement::SpreadNuma),
    ];
    for (word, placement) in placements {
        let snapshot = machine(8, uneven, Sharing { placement, ..Sharing::among(256) });
        for size in [1, 3, 100, 1000] {
            let times = timed(&snapshot, &request(&snapshot, size), options);
            worst = worst.max(times.p99());
            report.times(&format!("8 cards by 256 shares, {word}, {size} wanted"), &times);
        }
    }
    report.at_most_here("preferred among 8 cards by 256 shares, p99 ms", worst, LIMIT);
}

/// Among the parts of eight linked cards, most of them wanted: there are far too many sets to look at all.
pub(crate) fn parts(report: &mut Report, options: Options) {
    let snapshot = in_parts(8, 8);
    let mut worst = 0.0_f64;
    for size in [56, 48, 32] {
        let times = timed(&snapshot, &request(&snapshot, size), options);
        worst = worst.max(times.p99());
        report.times(&format!("8 linked cards of 8 parts, {size} wanted"), &times);
    }
    report.at_most_here("preferred among 8 linked cards of 8 parts, p99 ms", worst, LIMIT);
}

/// Among so many devices that nobody can look at every set of them.
pub(crate) fn many(report: &mut Report, options: Options) {
    const DEVICES: usize = 10_000;
    let mut worst = 0.0_f64;
    for (word, snapshot) in [("", unlinked(DEVICES)), (" linked in fours", in_fours(DEVICES))] {
        for size in [1, 8, DEVICES / 2] {
            let times = timed(&snapshot, &request(&snapshot, size), options);
            report.times(&format!("10,000 devices{word}, {size} wanted"), &times);
            // Nobody wants thousands: how long their names take to write is told, and not judged.
            worst = if word.is_empty() && size <= 8 { worst.max(times.p99()) } else { worst };
        }
    }
    report.at_most_here("preferred among 10,000 devices, up to 8 wanted, p99 ms", worst, LIMIT);
}

fn timed(snapshot: &Snapshot, request: &PreferredAllocationRequest, options: Options) -> Latency {
    latency::of(options.rounds, options.count, || drop(black_box(preferred(snapshot, black_box(request)))))
}
