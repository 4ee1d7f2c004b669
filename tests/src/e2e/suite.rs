//! Cases that share a cluster, and how they are run and judged.
//!
//! A suite that was taken down is followed by a look at the machine, which must be as it was before;
//! that look counts as a case of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::Context;

use super::Selection;
use crate::cluster::machine::Machine;
use crate::cluster::node::Node;
use crate::cluster::progress::step;
use crate::cluster::traces::{Traces, verify_clean};
use crate::cluster::{Cluster, Programs, interrupt};

/// Cases on one cluster.
pub(super) struct Suite {
    pub(super) name: &'static str,
    /// Brings the cluster to where the first case begins.
    pub(super) prepare: fn(&Programs) -> anyhow::Result<Cluster>,
    pub(super) cases: &'static [Case],
}

/// One thing that must be true of a cluster. Each makes what it needs itself, so that it can be run
/// alone.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Left out unless asked for by name or with all.
    pub(super) long: bool,
    pub(super) run: fn(&Cluster) -> anyhow::Result<()>,
}

impl Suite {
    /// Returns the names of what failed.
    pub(super) fn run(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>> {
        println!("{}", self.name);
        let before = Traces::find()?;
        let mut failed = self.run_on_a_cluster(selection, programs)?;
        let clean = verify_clean(&before);
        let name = format!("{} leaves nothing behind", self.name);
        report(&name, &clean);
        failed.extend(clean.is_err().then_some(name));
        Ok(failed)
    }

    fn run_on_a_cluster(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>> {
        let start = Instant::now();
        let cluster = match (self.prepare)(programs) {
            Ok(cluster) => cluster,
            Err(error) => return Ok(judge("its cluster comes up", start, Err(error)).into_iter().collect()),
        };
        let failed = selection.cases_of(self).filter_map(|case| case.run(&cluster)).collect();
        if selection.keep {
            keep(&cluster)?;
        }
        step("take the cluster down", || {
            drop(cluster);
            Ok(())
        })?;
        Ok(failed)
    }
}

impl Case {
    /// Returns its name if it failed. A panic is a failure of this case alone.
    fn run(&self, cluster: &Cluster) -> Option<String> {
        if interrupt::requested() {
            return None;
        }
        let start = Instant::now();
        let run = AssertUnwindSafe(|| (self.run)(cluster));
        let outcome = catch_unwind(run).unwrap_or_else(|_| Err(anyhow::anyhow!("panicked, as told above")));
        judge(self.name, start, outcome.with_context(|| cluster.describe()))
    }
}

/// What fails after Ctrl-C has not failed: its peers were ended.
fn judge(name: &str, start: Instant, outcome: anyhow::Result<()>) -> Option<String> {
    let timed = format!("{name} ({:.1} s)", start.elapsed().as_secs_f32());
    if outcome.is_err() && interrupt::requested() {
        println!("ended  {timed}");
        return None;
    }
    report(&timed, &outcome);
    outcome.is_err().then(|| name.to_owned())
}

/// The first cause comes first: it is what most failures are about.
fn report(name: &str, outcome: &anyhow::Result<()>) {
    match outcome {
        Ok(()) => println!("ok     {name}"),
        Err(error) => {
            println!("FAILED {name}");
            error.chain().rev().for_each(|cause| println!("{cause}"));
        }
    }
}

fn keep(cluster: &Cluster) -> anyhow::Result<()> {
    let enter =
        |machine: &Machine| println!("  {:<10} nsenter --all --target {}", machine.name(), machine.init());
    println!("the cluster stays until Ctrl-C; from another shell:");
    enter(cluster.underlay());
    cluster.nodes().iter().map(Node::machine).for_each(enter);
    println!("  {:<10} {}", "kubectl", cluster.kubectl()?.line());
    interrupt::wait();
    Ok(())
}
