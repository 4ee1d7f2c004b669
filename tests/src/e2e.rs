//! The cases that need a real Kubernetes, and the order in which they run.
//!
//! Cases that share a cluster form a suite. A suite that was taken down is followed by a look at the
//! machine, which must be as it was before; that look counts as a case of its own.

mod reference;
mod tripod;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::Context;

use crate::cluster::progress::step;
use crate::cluster::state::sweep;
use crate::cluster::traces::{Traces, verify_clean};
use crate::cluster::{Cluster, Programs, interrupt};

/// Every suite, in order.
const SUITES: [&Suite; 2] = [&reference::SUITE, &tripod::SUITE];

/// Cases on one cluster.
struct Suite {
    name: &'static str,
    /// Brings the cluster to where the first case begins.
    prepare: fn(&Programs) -> anyhow::Result<Cluster>,
    cases: &'static [Case],
}

/// One thing that must be true of a cluster.
struct Case {
    name: &'static str,
    about: &'static str,
    /// Left out unless asked for by name or with all.
    long: bool,
    run: fn(&Cluster) -> anyhow::Result<()>,
}

/// What to run, and what to do afterwards.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of cases or suites; none means all that are not long.
    pub names: Vec<String>,
    /// Also the long ones.
    pub all: bool,
    /// Keep each cluster until the run is interrupted.
    pub keep: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All selected cases passed, and nothing was left behind.
    Passed,
    /// At least one did not.
    Failed,
    /// It was asked to end before it could tell.
    Interrupted,
}

/// One line per case.
pub fn list() -> String {
    let line =
        |case: &Case| format!("{:<14} {}{}\n", case.name, case.about, if case.long { " (long)" } else { "" });
    SUITES.iter().flat_map(|suite| suite.cases).map(line).collect()
}

/// Runs the selected cases, printing what happens as it happens.
pub fn run(selection: &Selection) -> anyhow::Result<Verdict> {
    selection.check()?;
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "root is needed: nodes are made of namespaces, mounts and cgroups"
    );
    interrupt::listen()?;
    for mark in sweep()? {
        println!("removed what the killed run {mark} had left");
    }
    println!("programs");
    let Some(programs) = unless_interrupted(Programs::prepare())? else { return Ok(Verdict::Interrupted) };
    let mut failed = Vec::new();
    for suite in SUITES.iter().filter(|suite| selection.cases_of(suite).next().is_some()) {
        failed.extend(suite.run(selection, &programs)?);
    }
    Ok(conclude(&failed))
}

impl Selection {
    fn check(&self) -> anyhow::Result<()> {
        let known = |name: &String| {
            SUITES.iter().any(|suite| suite.name == name || suite.cases.iter().any(|case| case.name == name))
        };
        let unknown: Vec<_> = self.names.iter().filter(|name| !known(name)).collect();
        anyhow::ensure!(unknown.is_empty(), "no case or suite {unknown:?}; there are:\n{}", list());
        Ok(())
    }

    fn cases_of<'a>(&'a self, suite: &'a Suite) -> impl Iterator<Item = &'a Case> {
        let named = |case: &Case| self.names.iter().any(|name| name == case.name || name == suite.name);
        suite.cases.iter().filter(
            move |case| {
                if self.names.is_empty() { self.all || !case.long } else { named(case) }
            },
        )
    }
}

impl Case {
    /// A panic is a failure of this case alone.
    fn attempt(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let run = AssertUnwindSafe(|| (self.run)(cluster));
        catch_unwind(run).unwrap_or_else(|_| anyhow::bail!("panicked, as told above"))
    }
}

impl Suite {
    /// Returns the names of the cases that failed.
    fn run(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>> {
        let before = Traces::find()?;
        println!("{}", self.name);
        let mut failed = Vec::new();
        match (self.prepare)(programs) {
            Ok(cluster) => {
                failed.extend(self.run_cases(selection, &cluster));
                if selection.keep {
                    keep(&cluster);
                }
                step("take the cluster down", || {
                    drop(cluster);
                    Ok(())
                })?;
            }
            Err(error) => {
                report(&format!("{}: its cluster did not come up", self.name), Some(&error));
                failed.push(self.name.to_owned());
            }
        }
        let clean = verify_clean(&before);
        let name = format!("{} leaves nothing behind", self.name);
        report(&name, clean.as_ref().err());
        failed.extend(clean.is_err().then_some(name));
        Ok(failed)
    }

    fn run_cases(&self, selection: &Selection, cluster: &Cluster) -> Vec<String> {
        let mut failed = Vec::new();
        for case in selection.cases_of(self) {
            let start = Instant::now();
            let outcome = case.attempt(cluster).with_context(|| cluster.describe());
            report(
                &format!("{} ({:.1} s)", case.name, start.elapsed().as_secs_f32()),
                outcome.as_ref().err(),
            );
            failed.extend(outcome.is_err().then(|| case.name.to_owned()));
        }
        failed
    }
}

fn report(name: &str, error: Option<&anyhow::Error>) {
    match error {
        None => println!("ok     {name}"),
        Some(_) if interrupt::requested() => println!("ended  {name}"),
        Some(error) => {
            let causes: Vec<String> = error.chain().rev().map(|cause| format!("{cause}")).collect();
            println!("FAILED {name}\n{}", causes.join("\n"));
        }
    }
}

fn keep(cluster: &Cluster) {
    println!("the cluster stays until Ctrl-C; from another shell:");
    for machine in
        std::iter::once(cluster.underlay()).chain(cluster.nodes().iter().map(|node| node.machine()))
    {
        println!("  {:<10} nsenter --all --target {}", machine.name(), machine.init());
    }
    println!("  {:<10} {}", "kubectl", cluster.kubectl_line());
    interrupt::wait();
}

/// A failure after Ctrl-C is nobody's failure.
fn unless_interrupted<T>(outcome: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match outcome {
        Err(_) if interrupt::requested() => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn conclude(failed: &[String]) -> Verdict {
    if interrupt::requested() {
        println!("interrupted");
        return Verdict::Interrupted;
    }
    if failed.is_empty() {
        println!("all passed");
        return Verdict::Passed;
    }
    println!("failed: {}", failed.join(", "));
    Verdict::Failed
}
