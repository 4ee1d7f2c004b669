//! The cluster itself, shown with the reference plugins: what fails here is not Tripod's fault.

mod network;
mod private_image;
mod restart;

use super::suite::{Case, Suite};
use crate::cluster::addresses::Families;
use crate::cluster::{Cluster, Programs};

pub(super) const SUITE: Suite = Suite {
    name: "reference",
    prepare,
    cases: &[
        Case {
            name: "reference-network",
            about: "two nodes come Ready with the reference bridge plugin, and a pod on each reaches its node",
            long: false,
            run: network::pods_reach_their_nodes,
        },
        Case {
            name: "reference-restart",
            about: "a kubelet that is restarted with other flags leaves its pods alone",
            long: false,
            run: restart::pods_outlive_the_kubelet,
        },
        Case {
            name: "reference-private-image",
            about: "an image behind a password runs with the pod's own secret, and not without",
            long: false,
            run: private_image::the_password_decides,
        },
    ],
};

/// A cluster whose nodes wait for a network plugin.
fn prepare(programs: &Programs) -> anyhow::Result<Cluster> {
    Cluster::start("reference", programs, 2, Families::Dual)
}
