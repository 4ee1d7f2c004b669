//! Tripod itself, installed as its README says, on nodes that have nothing else.

mod agents;
mod bandwidth;
mod chart;
mod config_mistake;
mod device;
mod devices;
mod echo_pods;
pub(super) mod false_claims;
pub(super) mod faults;
pub(super) mod footprint;
mod hostport;
mod hundred;
pub(super) mod install;
mod links;
mod mesh_dump;
pub(super) mod network;
mod own_node;
mod plugin;
mod private_image;
mod prober;
pub(super) mod proxy;
mod restart;
mod service_account_image;
pub(super) mod three;
mod token_image;
mod uninstall;
mod upgrade;

use super::suite::{Case, Suite};
use crate::cluster::addresses::{Families, Link};
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Programs};
use crate::programs;

pub(super) const SUITE: Suite = Suite {
    name: "tripod",
    prepare,
    cases: &[
        Case {
            name: "tripod-install",
            about: "kubectl apply makes nodes Ready that were not",
            long: false,
            run: install::apply_makes_nodes_ready,
        },
        Case {
            name: "tripod-chart",
            about: "the API server takes what the chart renders, whatever is switched on",
            long: false,
            run: chart::the_server_takes_every_rendering,
        },
        Case {
            name: "tripod-own-node",
            about: "the API server lets an agent write its own node's objects, and nobody else's",
            long: false,
            run: own_node::an_agent_writes_only_its_own,
        },
        Case {
            name: "tripod-network",
            about: "pods reach each other, their node and the outside; a docker0 and a VIP do not confuse the node",
            long: false,
            run: network::pods_are_connected,
        },
        Case {
            name: "tripod-links",
            about: "pods of different nodes reach each other, by a route or, once a router is between them, an overlay",
            long: false,
            run: links::nodes_are_linked,
        },
        Case {
            name: "tripod-hostport",
            about: "a port of the node leads to its pod over TCP and UDP, from everywhere, and is closed after it",
            long: false,
            run: hostport::a_port_of_the_node_leads_to_the_pod,
        },
        Case {
            name: "tripod-bandwidth",
            about: "the annotations for a pod's bandwidth become queues of its link",
            long: false,
            run: bandwidth::annotations_limit_the_pod,
        },
        Case {
            name: "tripod-upgrade",
            about: "another version is rolled out and back: pods come and go meanwhile, and connections do not notice",
            long: false,
            run: upgrade::nobody_notices_a_roll_out,
        },
        // Before cases in which an admin puts more on a node than Tripod does.
        Case {
            name: "tripod-uninstall",
            about: "uninstalled as the README says, nodes have nothing of Tripod and all of others, and can have it again",
            long: false,
            run: uninstall::nodes_are_rid_of_it,
        },
        Case {
            name: "tripod-device",
            about: "a pod that asks for a device gets it, and the next one waits",
            long: false,
            run: device::one_pod_gets_the_device,
        },
        Case {
            name: "tripod-kubectl",
            about: "kubectl tripod, taken from the cluster, tells of all nodes, and which of them does not answer",
            long: false,
            run: plugin::all_nodes_are_asked,
        },
        Case {
            name: "tripod-config-mistake",
            about: "a mistake in credential-provider.yaml is an event, and the nodes keep the good one",
            long: false,
            run: config_mistake::is_told_and_does_no_harm,
        },
        Case {
            name: "tripod-cdi",
            about: "two pods get two devices by CDI, and their status follows the devices' health",
            long: false,
            run: devices::each_pod_gets_its_own,
        },
        Case {
            name: "tripod-device-restart",
            about: "kubelet, device plugin or both begin anew: what was given stays given, and the rest can be had",
            long: false,
            run: devices::restarts_lose_nothing,
        },
        Case {
            name: "tripod-plugin-watcher",
            about: "the kubelet's plugin watcher finds the device plugin, and again after a restart",
            long: false,
            run: devices::the_plugin_watcher_finds_it,
        },
        Case {
            name: "tripod-numa",
            about: "under single-numa-node a pod gets devices of one NUMA node or is refused",
            long: false,
            run: devices::one_numa_node_or_none,
        },
        Case {
            name: "tripod-private-image",
            about: "a private image runs once the kubelet is wired as the README tells",
            long: false,
            run: private_image::the_provider_opens_the_registry,
        },
        Case {
            name: "tripod-service-account-image",
            about: "a registry that takes pods' tokens opens to one ServiceAccount, and to no other",
            long: false,
            run: service_account_image::the_account_decides,
        },
        Case {
            name: "tripod-token-image",
            about: "a registry that trusts a token service opens to the credentials that are given, and to no others",
            long: false,
            run: token_image::the_credentials_are_worth_a_token,
        },
        Case {
            name: "tripod-restart",
            about: "restarts of the kubelet and of Tripod change nothing for a running pod",
            long: false,
            run: restart::running_pods_do_not_notice,
        },
        Case {
            name: "tripod-hundred",
            about: "a hundred pods of one node are made at once and deleted at once",
            long: true,
            run: hundred::a_hundred_pods_come_and_go,
        },
    ],
};

/// Two nodes that speak both families.
fn prepare(programs: &Programs) -> anyhow::Result<Cluster> {
    start("tripod", programs, 2, Families::Dual)
}

/// Nodes without a network, which have the image, as they would after a pull.
pub(super) fn start(
    name: &str,
    cluster_programs: &Programs,
    nodes: u8,
    families: Families,
) -> anyhow::Result<Cluster> {
    start_on(name, cluster_programs, &vec![Link::Near; nodes.into()], families)
}

/// The same with one node on each of `links`.
fn start_on(
    name: &str,
    cluster_programs: &Programs,
    links: &[Link],
    families: Families,
) -> anyhow::Result<Cluster> {
    step("build the image", build_image)?;
    let cluster = Cluster::start_on(name, cluster_programs, links, families)?;
    step("load the image into every node", || {
        cluster.import(&programs::target_dir().join("image/tripod.tar"))
    })?;
    Ok(cluster)
}

fn build_image() -> anyhow::Result<()> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let status = cargo.current_dir(programs::workspace()).arg("image").status()?;
    anyhow::ensure!(status.success(), "cargo image: {status}");
    Ok(())
}
