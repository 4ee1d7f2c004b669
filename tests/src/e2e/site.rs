//! A throwaway node as a runtime finds it before its first pod: a folder for programs, one for
//! configurations, and nothing in them. Everything on it ends with the value.

use std::path::Path;

use serde_json::{Value, json};

use super::suite::Ground;
use crate::cluster::Programs;
use crate::cluster::progress::step;
use crate::namespace::Namespace;
use crate::programs;

/// Where the runtime looks for programs.
pub(super) const BIN: &str = "/run/cni/bin";
/// Where it looks for configurations.
pub(super) const CONF: &str = "/run/cni/net.d";
/// Everything that an attachment may leave, by whichever plugin. A store's lock and its hints where to go
/// on are the network's, and so is the table without its elements.
const LISTINGS: [&str; 4] = [
    "ip -br link | cut -d' ' -f1 | sort",
    // The kernel gives each link IPv6 routes of its own, a moment after it is up.
    "ip -4 route show table all; ip -6 route show table all | grep -v 'proto kernel'; \
     ip neigh show nud permanent",
    "nft list ruleset | grep -A9 elements || true",
    "find /run /var/lib -type f ! -path '/run/cni/*' ! -name lock \
     ! -name 'last_reserved_ip*' ! -name '.*' | sort",
];

/// Builds the program under test, for cases that make the rest of their ground themselves.
pub(super) fn prepare(programs: &Programs) -> anyhow::Result<Programs> {
    step("build tripod-cni", || {
        programs::program("tripod-cni");
        Ok(programs.clone())
    })
}

/// Cases that make what they need need no more than the programs.
impl Ground for Programs {
    const WHAT: &'static str = "namespaces";

    fn describe(&self) -> String {
        String::new()
    }

    fn keep(&self) -> anyhow::Result<()> {
        println!("nothing to keep: these cases end with their namespaces");
        Ok(())
    }
}

/// The node.
#[derive(Debug)]
pub(super) struct Site {
    node: Namespace,
}

impl Site {
    /// A node with an uplink, addresses of both families, and no network for pods.
    pub(super) fn new() -> anyhow::Result<Self> {
        let node = Namespace::try_node()?;
        // libcni keeps its memory below /var/lib, which is the machine's.
        node.sh(&format!(
            "mount -t tmpfs none /var/lib; mkdir -p {BIN} {CONF}; \
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; \
             sysctl -qw net.ipv6.conf.default.accept_dad=0; \
             ip link add uplink type veth peer name far; ip link set far up; ip link set uplink up; \
             ip address add 192.0.2.9/24 dev uplink; ip address add 2001:db8::9/64 dev uplink nodad"
        ));
        Ok(Self { node })
    }

    /// Its namespaces.
    pub(super) fn node(&self) -> &Namespace {
        &self.node
    }

    /// Puts the program under test in its place.
    pub(super) fn install_program(&self) {
        let program = programs::program("tripod-cni");
        self.node.sh(&format!("ln -s {} {BIN}/tripod-cni", program.display()));
    }

    /// Puts `list` in its place, whole from the first moment it is seen.
    pub(super) fn write_conflist(&self, list: &Value) {
        let text = list.to_string();
        self.node.run(move || {
            let (new, place) = (Path::new(CONF).join("new"), Path::new(CONF).join("10-pods.conflist"));
            std::fs::write(&new, text).and_then(|()| std::fs::rename(new, place)).expect("the site's folder");
        });
    }

    /// What attachments have left on it so far.
    pub(super) fn footprint(&self) -> String {
        let listed: String = LISTINGS.iter().map(|listing| self.node.sh(listing)).collect();
        // A bridge stays, and the kernel takes a moment to see that its last port has gone.
        listed.replace(" linkdown", "")
    }
}

/// Tripod's own conflist for the network `name` in these versions, with the node's pods in ranges of both
/// families, as the agent writes it.
pub(super) fn conflist(name: &str, versions: &[&str]) -> Value {
    json!({
        "cniVersion": "1.0.0", "cniVersions": versions, "name": name,
        "plugins": [{
            "type": "tripod-cni",
            "agentState": "/run/tripod",
            "capabilities": {
                "portMappings": true, "bandwidth": true, "cgroupPath": true,
                "io.kubernetes.cri.pod-annotations": true,
            },
            "ipam": {"type": "tripod", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]},
        }],
    })
}
