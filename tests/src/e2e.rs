//! The cases that need a real Kubernetes, and the order in which they run.

mod contract;
mod families;
mod reference;
mod runtimes;
mod selection;
mod site;
mod suite;
mod three;
mod tripod;

pub use self::selection::Selection;

use self::suite::AnySuite;
use crate::cluster::state::{Turn, sweep};
use crate::cluster::{Programs, interrupt};

/// Every suite, the quick ones first.
const SUITES: [&dyn AnySuite; 10] = [
    &contract::SUITE,
    &runtimes::SUITE,
    &reference::SUITE,
    &tripod::SUITE,
    &families::IPV4,
    &families::IPV6,
    &three::DUAL,
    &three::IPV4,
    &three::IPV6,
    &three::FAULTS,
];

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All selected cases passed, and nothing was left behind.
    Passed,
    /// At least one did not, or something was left behind.
    Failed,
    /// It was asked to end before it could tell.
    Interrupted,
}

/// One line per case.
pub fn list() -> String {
    let cases = SUITES.iter().flat_map(|suite| suite.titles());
    cases
        .map(|case| format!("{:<24} {}{}\n", case.name, case.about, if case.long { " (long)" } else { "" }))
        .collect()
}

/// Runs the selected cases, printing what happens as it happens.
pub fn run(selection: &Selection) -> anyhow::Result<Verdict> {
    selection.check(&SUITES)?;
    let root = nix::unistd::geteuid().is_root();
    anyhow::ensure!(root, "root is needed: nodes are made of namespaces, mounts and cgroups");
    interrupt::listen()?;
    let outcome = run_suites(selection);
    let verdict = match &outcome {
        Ok(failed) if !failed.is_empty() => Verdict::Failed,
        _ if interrupt::requested() => Verdict::Interrupted,
        _ => Verdict::Passed,
    };
    match verdict {
        Verdict::Interrupted => println!("interrupted"),
        _ => println!("{}", conclusion(&outcome?)),
    }
    Ok(verdict)
}

/// Returns the names of what failed.
fn run_suites(selection: &Selection) -> anyhow::Result<Vec<String>> {
    let _turn = Turn::take()?;
    for mark in sweep()? {
        println!("removed what the killed run {mark} had left");
    }
    println!("programs");
    let programs = Programs::prepare()?;
    let mut failed = Vec::new();
    let wanted =
        |suite: &&&dyn AnySuite| suite.titles().into_iter().any(|case| selection.wants(suite.name(), case));
    for suite in SUITES.iter().filter(wanted) {
        interrupt::check()?;
        failed.extend(suite.run(selection, &programs)?);
    }
    Ok(failed)
}

fn conclusion(failed: &[String]) -> String {
    if failed.is_empty() { "all passed".to_owned() } else { format!("failed: {}", failed.join(", ")) }
}
