//! A node whose cluster has any number of others.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tripod_node::mac::Mac;
use tripod_tests::apiserver::{ApiServer, Authority, Cluster, write_service_account};
use tripod_tests::daemon::Daemon;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::{self, Profile};

use super::heartbeats;
use super::watcher::Watcher;

/// Where the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the node's own link.
    Link,
    /// Behind its gateway.
    Router,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Link => "on the link",
            Self::Router => "behind a router",
        }
    }
}

/// The name of the Node.
const NAME: &str = "n";

pub(crate) struct Site {
    way: Way,
    node: Namespace,
    cluster: Cluster,
    files: TempDir,
    _api: ApiServer,
    program: PathBuf,
    agent: Option<Daemon>,
}

impl Site {
    pub(crate) fn new(way: Way) -> Self {
        let node = Namespace::node().expect("root");
        node.sh("ip link add eth0 type veth peer name far && ip addr add 10.128.0.1/16 dev eth0 && \
             ip link set eth0 up && ip link set far up && ip route add default via 10.128.255.254");
        let (cluster, authority) = (Cluster::default(), Authority::default());
        let address = "127.0.0.1:6443".parse().expect("an address");
        let api = ApiServer::start(&node, address, &authority, &cluster);
        let files = tempfile::tempdir().expect("a folder");
        write_service_account(&files.path().join("account"), &authority);
        let config = "version: v1\nclusterCIDRs: [10.0.0.0/9]\napiServers: [\"https://127.0.0.1:6443\"]\n";
        fs::write(files.path().join("node.yaml"), config).expect("a file");
        cluster.set_node(Some(heartbeats::node(NAME, "10.128.0.1", "10.127.0.0/24")));
        let folder = programs::build(Profile::Release, &["tripod-node"]).expect("it builds");
        Self { way, node, cluster, files, _api: api, program: folder.join("tripod-node"), agent: None }
    }

    /// Another node joins the cluster.
    pub(crate) fn join(&self, number: usize) {
        self.set(number, 0x0a00_0000);
    }

    /// It gets other prefixes, below 10.64.0.0/10.
    pub(crate) fn moves(&self, number: usize) {
        self.set(number, 0x0a40_0000);
    }

    fn set(&self, number: usize, prefixes: u32) {
        let bits = u32::try_from(number).expect("a small number");
        let network = match self.way {
            Way::Link => 0x0a80_0002,
            Way::Router => 0x0ac0_0002,
        };
        let address = Ipv4Addr::from_bits(network + bits);
        let cidr = Ipv4Addr::from_bits(prefixes + bits * 256);
        let uid = format!("u{number}");
        self.cluster.set_tripod_node(json!({
            "metadata": {"name": format!("p{number}")},
            "spec": {"nodeUID": uid, "addresses": [address], "protocol": 1,
                "podCIDRs": [format!("{cidr}/24")], "vtepMAC": Mac::of_node(&uid)},
        }));
    }

    pub(crate) fn start(&mut self) {
        let path = |name: &str| self.files.path().join(name);
        let mut command = Command::new(&self.program);
        command.env("NODE_NAME", "n").arg("agent").arg("--config").arg(path("node.yaml"));
        command.arg("--conflist").arg(path("net.d/10-tripod.conflist"));
        command.arg("--service-account-dir").arg(path("account"));
        self.agent = Some(Daemon::start_on(&self.node, command));
    }

    /// Waits until routes lead to so many peers.
    pub(crate) fn wait_for_routes(&self, count: usize) {
        self.wait_for_routes_to("0.0.0.0/0", count);
    }

    /// Waits until routes to so many peers are below `prefix`.
    pub(crate) fn wait_for_routes_to(&self, prefix: &str, count: usize) {
        let (begin, listing) = (Instant::now(), format!("ip -4 route show proto 84 root {prefix} | wc -l"));
        while self.node.sh(&listing).trim() != count.to_string() {
            let log = || self.agent.as_ref().map(Daemon::log).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_secs(120), "no routes to {count} peers:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the agent has used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // Fields 14 and 15 of proc(5), in ticks of which Linux has always had 100 a second here.
        let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// What has gone over the wire to and from the API server, with all headers: nobody else speaks on it.
    pub(crate) fn wire_bytes(&self) -> f64 {
        self.node.json("ip -j -s link show lo")[0]["stats64"]["rx"]["bytes"].as_f64().expect("a number")
    }

    /// How often it looked at all there is, by its own metrics.
    pub(crate) fn looks(&self) -> f64 {
        let metrics = self.node.run(|| {
            let mut stream = TcpStream::connect("10.128.0.1:9675").expect("metrics are served");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n").expect("a request");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            text
        });
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix("tripod_reconcile_duration_seconds_count "));
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in {metrics}"))
    }

    /// How many requests the API server got.
    pub(crate) fn requests(&self) -> usize {
        self.cluster.requests()
    }

    /// Lets this node's kubelet and those of `peers` others report as they do, for `window`.
    pub(crate) fn report(&self, peers: usize, window: Duration) {
        heartbeats::report(&self.cluster, peers, window);
    }

    /// This node's kubelet reports once.
    pub(crate) fn report_own(&self) {
        heartbeats::report_one(&self.cluster, NAME);
    }

    /// Watches all Nodes from now on.
    pub(crate) fn watch_all_nodes(&self) -> Watcher {
        self.cluster.show_all_nodes();
        Watcher::start(&self.node, self.cluster.version(), &self.files.path().join("account/token"))
    }

    /// The most memory it has had, in MiB.
    pub(crate) fn memory_mib(&self) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
        kib / 1024.0
    }

    fn read(&self, name: &str) -> String {
        let id = self.agent.as_ref().map(Daemon::id).expect("it runs");
        fs::read_to_string(format!("/proc/{id}/{name}")).expect("a process")
    }
}
