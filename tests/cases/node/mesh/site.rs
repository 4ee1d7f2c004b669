//! Three nodes, one network each behind a router that drops whatever carries a pod's address, or all on
//! one link; an agent and a pod on each.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::apiserver::{ApiServer, Authority, Cluster, write_service_account};
use tripod_tests::daemon::Daemon;
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::program;

/// How the nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Cable {
    /// All on one link.
    Switch,
    /// Each on a link of its own, with a router between that knows no pods.
    Router,
}

pub(in crate::node) struct Site {
    pub(in crate::node) router: Namespace,
    pub(in crate::node) cluster: Cluster,
    authority: Authority,
    files: TempDir,
    cable: Cable,
    /// How often agents look for what no event tells of, in seconds.
    pub(in crate::node) resync: u16,
}

/// A node of a [`Site`]. Its API server is its own, so that no test of the nodes' network can cut it off.
pub(in crate::node) struct Node {
    pub(in crate::node) number: u8,
    pub(in crate::node) node: Namespace,
    pub(in crate::node) pod: Namespace,
    pub(in crate::node) agent: Option<Daemon>,
    pub(in crate::node) api: Option<ApiServer>,
    pub(in crate::node) folder: PathBuf,
}

const API: &str = "127.0.0.1:6443";

/// Address of the cluster's own Service, in a range of pods for once.
pub(in crate::node) const SERVICE: &str = "10.244.96.1";

impl Site {
    /// `None` without root.
    pub(in crate::node) fn new(cable: Cable) -> Option<Self> {
        let site = Self {
            router: Namespace::node()?,
            cluster: Cluster::default(),
            authority: Authority::default(),
            files: tempfile::tempdir().expect("a folder"),
            cable,
            resync: 60,
        };
        write_service_account(&site.files.path().join("account"), &site.authority);
        match cable {
            Cable::Switch => site.router.sh("ip link add lan type bridge && ip link set lan up"),
            Cable::Router => site.router.sh(
                "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; \
                 nft 'add table inet strict; add chain inet strict f { type filter hook forward priority 0; }; \
                 add rule inet strict f ip saddr 10.244.0.0/16 drop; \
                 add rule inet strict f ip daddr 10.244.0.0/16 drop; \
                 add rule inet strict f ip6 saddr fd00:10:244::/48 drop; \
                 add rule inet strict f ip6 daddr fd00:10:244::/48 drop'",
            ),
        };
        Some(site)
    }

    /// Node `n<number>` with pod CIDRs of that number, its agent started with these settings.
    pub(in crate::node) fn join(&self, number: u8, settings: &str) -> Node {
        self.join_with(number, |node| node.configure(settings))
    }

    /// The same without the admin's word.
    pub(in crate::node) fn join_alone(&self, number: u8) -> Node {
        self.join_with(number, Node::configure_alone)
    }

    fn join_with(&self, number: u8, configure: impl FnOnce(&Node)) -> Node {
        let mut node = Node {
            number,
            node: Namespace::node().expect("root"),
            pod: Namespace::sandbox(),
            agent: None,
            api: None,
            folder: self.files.path().join(format!("n{number}")),
        };
        self.connect(&node);
        configure(&node);
        self.cluster.set_node(Some(node.object()));
        self.serve(&mut node);
        self.start(&mut node);
        node
    }

    pub(in crate::node) fn serve(&self, node: &mut Node) {
        let address = API.parse().expect("an address");
        node.api = Some(ApiServer::start(&node.node, address, &self.authority, &self.cluster));
    }

    pub(in crate::node) fn start(&self, node: &mut Node) {
        let mut command = Command::new(program("tripod-node"));
        command.env("KUBERNETES_SERVICE_HOST", SERVICE).env("KUBERNETES_SERVICE_PORT", "443");
        command.env("NODE_NAME", node.name()).arg("agent").args(["--resync", &self.resync.to_string()]);
        command.arg("--config").arg(node.folder.join("config/node.yaml"));
        command.arg("--conflist").arg(node.folder.join("net.d/10-tripod.conflist"));
        command.arg("--service-account-dir").arg(self.files.path().join("account"));
        node.agent = Some(Daemon::start_on(&node.node, command));
    }

    fn connect(&self, node: &Node) {
        let (n, pid) = (node.number, node.node.path());
        let outside = format!("to{n}");
        // Strict, as distributions that know no pods set it.
        node.node.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1");
        self.router.sh(&format!("ip link add {outside} type veth peer name eth0 netns {}", pid.display()));
        match self.cable {
            Cable::Switch => {
                self.router.sh(&format!("ip link set {outside} master lan up"));
                node.node.sh(&format!(
                    "ip addr add 192.0.2.{n}/24 dev eth0; ip addr add fd00:30::{n}/64 dev eth0 nodad; \
                     ip link set eth0 up; ip route add default via 192.0.2.254; \
                     ip -6 route add default via fd00:30::fe"
                ));
            }
            Cable::Router => {
                self.router.sh(&format!(
                    "ip addr add 192.0.{n}.254/24 dev {outside}; ip addr add fd00:30:{n}::fe/64 dev {outside} nodad; \
                     ip link set {outside} up"
                ));
                node.node.sh(&format!(
                    "ip addr add 192.0.{n}.{n}/24 dev eth0; ip addr add fd00:30:{n}::{n}/64 dev eth0 nodad; \
                     ip link set eth0 up; ip route add default via 192.0.{n}.254; \
                     ip -6 route add default via fd00:30:{n}::fe"
                ));
            }
        }
    }

    /// The addresses of node `number`.
    pub(in crate::node) fn addresses(&self, number: u8) -> [String; 2] {
        let n = number;
        match self.cable {
            Cable::Switch => [format!("192.0.2.{n}"), format!("fd00:30::{n}")],
            Cable::Router => [format!("192.0.{n}.{n}"), format!("fd00:30:{n}::{n}")],
        }
    }
}

impl Node {
    pub(in crate::node) fn name(&self) -> String {
        format!("n{}", self.number)
    }

    pub(in crate::node) fn configure(&self, settings: &str) {
        self.configure_exactly(&format!("clusterCIDRs: [10.244.0.0/16, \"fd00:10:244::/48\"]\n{settings}"));
    }

    /// Leaves the admin's word out: which prefixes are the cluster's.
    pub(in crate::node) fn configure_alone(&self) {
        self.configure_exactly("");
    }

    fn configure_exactly(&self, settings: &str) {
        let text = format!("version: v1\napiServers: [\"https://{API}\"]\n{settings}");
        std::fs::create_dir_all(self.folder.join("config")).expect("a folder");
        std::fs::write(self.folder.join("config/node.yaml"), text).expect("a file");
    }

    fn object(&self) -> Value {
        let n = self.number;
        let address = |script: &str| self.node.sh(script).trim().to_owned();
        let v4 = address("ip -4 -br addr show eth0 | awk '{print $3}' | cut -d/ -f1");
        let v6 = address("ip -6 -br addr show eth0 scope global | awk '{print $3}' | cut -d/ -f1");
        json!({
            "metadata": {"name": self.name(), "uid": format!("uid-{n}")},
            "spec": {"podCIDRs": [format!("10.244.{n}.0/24"), format!("fd00:10:244:{n}::/64")]},
            "status": {"addresses": [
                {"type": "InternalIP", "address": v4}, {"type": "InternalIP", "address": v6},
            ]},
        })
    }

    /// Tells the cluster what addresses the node has by now.
    pub(in crate::node) fn renew(&self, site: &Site) {
        site.cluster.set_node(Some(self.object()));
    }

    /// Attaches the node's pod and returns its addresses.
    pub(in crate::node) fn attach(&self) -> [String; 2] {
        let conflist = self.folder.join("net.d/10-tripod.conflist");
        eventually("the conflist is there", || conflist.exists());
        let list: Value = serde_json::from_slice(&std::fs::read(conflist).expect("a file")).expect("JSON");
        let mut conf = list["plugins"][0].clone();
        conf["name"] = list["name"].clone();
        conf["cniVersion"] = json!("1.1.0");
        let result = Call::new("ADD", &conf).netns(&self.pod.path()).run(&self.node).ok();
        let address = |index: usize| {
            let address = result["ips"][index]["address"].as_str().expect("an address");
            address.split('/').next().unwrap_or_default().to_owned()
        };
        [address(0), address(1)]
    }

    /// The routes to other nodes' pods, by family.
    pub(in crate::node) fn routes(&self) -> String {
        let routes = self.node.sh("ip -4 route show proto 84; ip -6 route show proto 84");
        let to_peers = routes.lines().filter(|line| line.contains(" via "));
        to_peers.map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// The rules that look packets of pods up.
    pub(in crate::node) fn rules(&self) -> String {
        let rules = self.node.sh("ip rule; ip -6 rule");
        rules.lines().filter(|rule| rule.contains("proto 84")).map(|rule| format!("{rule}\n")).collect()
    }

    pub(in crate::node) fn waits_for_routes(&self, what: &str, holds: impl Fn(&str) -> bool) {
        eventually(what, || holds(&self.routes()));
    }

    pub(in crate::node) fn log(&self) -> String {
        self.agent.as_ref().map(Daemon::log).unwrap_or_default()
    }
}
