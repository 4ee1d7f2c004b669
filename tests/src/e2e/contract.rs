//! What any CNI plugin owes its runtime, proven on the newest reference plugins before it is asked of
//! Tripod: a judge that the reference does not satisfy would judge nothing.

mod failures;
mod plugin;
mod verbs;

use self::plugin::Plugin;
use super::site;
use super::suite::{Case, Suite};
use crate::cluster::Programs;
use crate::cluster::progress::step;

pub(super) const SUITE: Suite<Programs> = Suite {
    name: "contract",
    prepare: site::prepare,
    cases: &[
        Case {
            name: "contract-connectivity",
            about: "pods reach each other and the node over both families",
            long: false,
            run: |programs| proven(programs, verbs::pods_reach_each_other_and_the_node),
        },
        Case {
            name: "contract-versions",
            about: "ADD answers in the shape of every version, and CHECK, DEL take that answer",
            long: false,
            run: |programs| proven(programs, verbs::every_version_has_its_shape),
        },
        Case {
            name: "contract-check",
            about: "CHECK passes after ADD, and not after a loss",
            long: false,
            run: |programs| proven(programs, verbs::check_passes_until_something_is_lost),
        },
        Case {
            name: "contract-del",
            about: "DEL repeated, without a result, without a namespace, after a failed ADD",
            long: false,
            run: |programs| proven(programs, verbs::del_leaves_nothing),
        },
        Case {
            name: "contract-gc",
            about: "STATUS is silent; GC without a list takes nothing away, with one what is not on it",
            long: false,
            run: |programs| proven(programs, verbs::gc_goes_by_the_list),
        },
        Case {
            name: "contract-second-add",
            about: "a second ADD of an attachment is refused and the first one goes on",
            long: false,
            run: |programs| proven(programs, failures::a_second_add_is_refused),
        },
        Case {
            name: "contract-failed-add",
            about: "an ADD that fails leaves nothing: range full, name taken, no namespace",
            long: false,
            run: |programs| proven_by_ptp(programs, failures::a_failed_add_leaves_nothing),
        },
        Case {
            name: "contract-errors",
            about: "wrong calls and configurations are told as one error document with the right code",
            long: false,
            run: |programs| proven_by_ptp(programs, failures::errors_are_told),
        },
    ],
};

/// Judges the references first, then Tripod, by the same function.
fn proven(programs: &Programs, judge: fn(&Plugin)) -> anyhow::Result<()> {
    let references = [Plugin::reference(programs), Plugin::reference_bridge(programs)];
    references.iter().chain(&ours()).try_for_each(|plugin| judged(plugin, judge))
}

/// The reference `bridge` leaves its pair of links behind when addresses cannot be had, so that only `ptp`
/// can prove what a failed ADD leaves.
fn proven_by_ptp(programs: &Programs, judge: fn(&Plugin)) -> anyhow::Result<()> {
    let references = [Plugin::reference(programs)];
    references.iter().chain(&ours()).try_for_each(|plugin| judged(plugin, judge))
}

fn ours() -> [Plugin; 2] {
    [Plugin::tripod(), Plugin::tripod_bridge()]
}

fn judged(plugin: &Plugin, judge: fn(&Plugin)) -> anyhow::Result<()> {
    step(plugin.name, || {
        judge(plugin);
        Ok(())
    })
}
