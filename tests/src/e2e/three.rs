//! Tripod on three nodes with a router between two of them and the third.

use std::cell::RefCell;

use super::suite::{Case, Suite};
use super::tripod::{false_claims, faults, proxy, three};
use crate::cluster::Cluster;
use crate::cluster::addresses::Families;

pub(super) const DUAL: Suite = Suite {
    name: "three",
    prepare: |programs| three::prepare("three", programs, Families::Dual),
    cases: &[
        Case {
            name: "tripod-three",
            about: "all pods and nodes reach each other at the full MTU, one node being behind a router",
            long: true,
            run: three::all_reach_all,
        },
        Case {
            name: "tripod-proxy-nftables",
            about: "Services with the real kube-proxy in mode nftables: from pods, nodes and outside, to all nodes",
            long: true,
            run: proxy::by_nftables,
        },
        Case {
            name: "tripod-proxy-iptables",
            about: "the same with kube-proxy in mode iptables",
            long: true,
            run: proxy::by_iptables,
        },
        Case {
            name: "tripod-false-claims",
            about: "what a node that was taken over says of others' addresses is ignored, and told",
            long: true,
            run: false_claims::are_ignored_and_told,
        },
    ],
};

pub(super) const IPV4: Suite = Suite {
    name: "three-ipv4",
    prepare: |programs| three::prepare("three-ipv4", programs, Families::V4),
    cases: &[Case {
        name: "tripod-three-ipv4",
        about: "the same with IPv4 alone",
        long: true,
        run: three::all_reach_all,
    }],
};

pub(super) const IPV6: Suite = Suite {
    name: "three-ipv6",
    prepare: |programs| three::prepare("three-ipv6", programs, Families::V6),
    cases: &[Case {
        name: "tripod-three-ipv6",
        about: "the same with IPv6 alone",
        long: true,
        run: three::all_reach_all,
    }],
};

/// Nodes of this one are rebooted.
pub(super) const FAULTS: Suite<RefCell<Cluster>> = Suite {
    name: "faults",
    prepare: |programs| Ok(RefCell::new(three::prepare("faults", programs, Families::Dual)?)),
    cases: &[Case {
        name: "tripod-faults",
        about: "traffic between three nodes heals within seconds of whatever goes wrong, and nothing is left of it",
        long: true,
        run: faults::traffic_heals,
    }],
};
