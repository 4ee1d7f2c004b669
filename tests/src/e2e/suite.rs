//! Cases that share a cluster, and how they are run and judged.
//!
//! A suite that was taken down is followed by a look at the machine, which must be as it was before;
//! that look counts as a case of its own.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::Context;

use super::Selection;
use crate::cluster::machine::Machine;
use crate::cluster::node::Node;
use crate::cluster::progress::step;
use crate::cluster::traces::{Traces, verify_clean};
use crate::cluster::{Cluster, Programs, interrupt};

/// Cases on one ground, by default a cluster.
pub(super) struct Suite<G: 'static = Cluster> {
    pub(super) name: &'static str,
    /// Brings the ground to where the first case begins.
    pub(super) prepare: fn(&Programs) -> anyhow::Result<G>,
    pub(super) cases: &'static [Case<G>],
}

/// One thing that must be true of the ground it runs on. Each makes what it needs itself, so that it can
/// be run alone.
pub(super) struct Case<G = Cluster> {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Left out unless asked for by name or with all.
    pub(super) long: bool,
    pub(super) run: fn(&G) -> anyhow::Result<()>,
}

/// What the cases of a suite share.
pub(super) trait Ground {
    /// What brings it up, for the person who waits.
    const WHAT: &'static str;
    /// Its state, for a person who looks into a failure.
    fn describe(&self) -> String;
    /// Leaves it as it is until the run is interrupted.
    fn keep(&self) -> anyhow::Result<()>;
}

/// What a person sees of a case in a list.
#[derive(Clone, Copy)]
pub(super) struct Title {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) long: bool,
}

/// A suite on whatever ground.
pub(super) trait AnySuite: Sync {
    fn name(&self) -> &'static str;
    fn titles(&self) -> Vec<Title>;
    /// Returns the names of what failed.
    fn run(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>>;
}

impl<G: Ground> AnySuite for Suite<G> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn titles(&self) -> Vec<Title> {
        self.cases.iter().map(Case::title).collect()
    }

    fn run(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>> {
        println!("{}", self.name);
        let before = Traces::find()?;
        let mut failed = self.run_on_its_ground(selection, programs)?;
        let clean = verify_clean(&before);
        let name = format!("{} leaves nothing behind", self.name);
        report(&name, &clean);
        failed.extend(clean.is_err().then_some(name));
        Ok(failed)
    }
}

impl<G: Ground> Suite<G> {
    fn run_on_its_ground(&self, selection: &Selection, programs: &Programs) -> anyhow::Result<Vec<String>> {
        let start = Instant::now();
        let ground = match (self.prepare)(programs) {
            Ok(ground) => ground,
            Err(error) => {
                let name = format!("its {} comes up", G::WHAT);
                return Ok(judge(&name, start, Err(error)).into_iter().collect());
            }
        };
        let wanted = self.cases.iter().filter(|case| selection.wants(self.name, case.title()));
        let failed = wanted.filter_map(|case| case.run(&ground)).collect();
        if selection.keep {
            ground.keep()?;
        }
        step(&format!("take the {} down", G::WHAT), || {
            drop(ground);
            Ok(())
        })?;
        Ok(failed)
    }
}

impl<G> Case<G> {
    fn title(&self) -> Title {
        Title { name: self.name, about: self.about, long: self.long }
    }
}

impl<G: Ground> Case<G> {
    /// Returns its name if it failed. A panic is a failure of this case alone.
    fn run(&self, ground: &G) -> Option<String> {
        if interrupt::requested() {
            return None;
        }
        let start = Instant::now();
        let run = AssertUnwindSafe(|| (self.run)(ground));
        let outcome = catch_unwind(run).unwrap_or_else(|_| Err(anyhow::anyhow!("panicked, as told above")));
        judge(self.name, start, outcome.with_context(|| ground.describe()))
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

/// Of which a case may take parts down and bring them up again.
impl Ground for RefCell<Cluster> {
    const WHAT: &'static str = Cluster::WHAT;

    fn describe(&self) -> String {
        self.borrow().describe()
    }

    fn keep(&self) -> anyhow::Result<()> {
        Ground::keep(&*self.borrow())
    }
}

impl Ground for Cluster {
    const WHAT: &'static str = "cluster";

    fn describe(&self) -> String {
        Cluster::describe(self)
    }

    fn keep(&self) -> anyhow::Result<()> {
        let enter = |machine: &Machine| {
            println!("  {:<10} nsenter --all --target {}", machine.name(), machine.init())
        };
        println!("the cluster stays until Ctrl-C; from another shell:");
        enter(self.underlay());
        self.nodes().iter().map(Node::machine).for_each(enter);
        println!("  {:<10} {}", "kubectl", self.kubectl()?.line());
        interrupt::wait();
        Ok(())
    }
}
