//! Tripod on clusters that speak one family only.

use super::suite::{Case, Suite};
use super::tripod::{self, install, network};
use crate::cluster::addresses::Families;

/// Nodes without any IPv6 address, not even of a link.
pub(super) const IPV4: Suite = Suite {
    name: "ipv4",
    prepare: |programs| {
        let cluster = tripod::start("ipv4", programs, 1, Families::V4)?;
        let off = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
        cluster.nodes().iter().try_for_each(|node| node.exec(&["sh", "-c", off]).map(drop))?;
        Ok(cluster)
    },
    cases: &[
        Case {
            name: "ipv4-install",
            about: "kubectl apply makes a node Ready that has IPv6 turned off",
            long: false,
            run: install::apply_makes_nodes_ready,
        },
        Case {
            name: "ipv4-network",
            about: "pods with an IPv4 address alone reach each other, their node and the outside",
            long: false,
            run: network::pods_are_connected,
        },
    ],
};

pub(super) const IPV6: Suite = Suite {
    name: "ipv6",
    prepare: |programs| tripod::start("ipv6", programs, 1, Families::V6),
    cases: &[
        Case {
            name: "ipv6-install",
            about: "kubectl apply makes a node Ready that has no IPv4 address but 127.0.0.1",
            long: false,
            run: install::apply_makes_nodes_ready,
        },
        Case {
            name: "ipv6-network",
            about: "pods with an IPv6 address alone reach each other, their node and the outside",
            long: false,
            run: network::pods_are_connected,
        },
    ],
};
