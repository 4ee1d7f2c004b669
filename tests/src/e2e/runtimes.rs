//! Tripod under the runtimes that call it, without a Kubernetes around them.

mod containerd;
mod crio;
mod libcni;

use super::site;
use super::suite::{Case, Suite};
use crate::cluster::Programs;

pub(super) const SUITE: Suite<Programs> = Suite {
    name: "runtimes",
    prepare: site::prepare,
    cases: &[
        Case {
            name: "runtimes-libcni",
            about: "cnitool: add, check, gc, status and del, in 1.0.0 and 1.1.0, with libcni's memory and without",
            long: false,
            run: libcni::every_verb,
        },
        Case {
            name: "runtimes-crio",
            about: "CRI-O's CNI layer: programs that come late, CHECK after ADD, a renamed network, GC at start",
            long: false,
            run: crio::pods_come_and_go,
        },
        Case {
            name: "runtimes-containerd",
            about: "sandboxes through CRI: made, deleted without their namespace and after the network was renamed",
            long: false,
            run: containerd::sandboxes_come_and_go,
        },
    ],
};
