//! Pod to pod across two nodes: what two agents made against the same made by hand with `ip`, in turn, between
//! the same nodes and so past the same rules.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path as Folder;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::apiserver::{ApiServer, Authority, Cluster, write_service_account};
use tripod_tests::daemon::Daemon;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::{self, Profile};

use crate::throughput::{self, Path};

/// How the nodes are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Direct,
    Vxlan,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Vxlan => "vxlan",
        }
    }

    /// MTU of pods: what VXLAN leaves of an Ethernet frame.
    fn mtu(self) -> u32 {
        match self {
            Self::Direct => 1500,
            Self::Vxlan => 1450,
        }
    }
}

/// What both nodes have in common.
struct Site {
    files: TempDir,
    cluster: Cluster,
    authority: Authority,
}

/// One of the two nodes.
struct End {
    number: u8,
    node: Namespace,
    ours: Namespace,
    by_hand: Namespace,
    _api: ApiServer,
    _agent: Daemon,
}

/// Ratios of throughput, ours to the hand-made links', one per pair of transfers, and the latter in Gbit/s.
pub(crate) fn ratios(backend: Backend) -> (Vec<f64>, Vec<f64>) {
    let files = tempfile::tempdir().expect("a folder");
    let site = Site { files, cluster: Cluster::default(), authority: Authority::default() };
    write_service_account(&site.files.path().join("account"), &site.authority);
    let nodes = [1, 2].map(|_| Namespace::node().expect("root"));
    let far = nodes[1].path();
    nodes[0].sh(&format!(
        "mkdir -p /run/netns; ln -s {} /run/netns/far; ip link add eth0 type veth peer name eth0 netns far",
        far.display()
    ));
    let mut ends = nodes.into_iter().zip(1..).map(|(node, number)| {
        site.cluster.set_node(Some(object(number)));
        End::start(number, node, backend, &site)
    });
    let [a, b] = [ends.next().expect("two"), ends.next().expect("two")];
    for (end, peer) in [(&a, &b), (&b, &a)] {
        end.wait_for_route_to(peer.number);
        end.attach(site.files.path(), backend);
        end.link_by_hand(peer.number, backend);
    }
    throughput::ratios(
        &Path { from: &a.ours, to: &b.ours, address: throughput::address(&b.ours) },
        &Path { from: &a.by_hand, to: &b.by_hand, address: hand_address(b.number) },
    )
}

fn object(number: u8) -> Value {
    json!({
        "metadata": {"name": format!("n{number}"), "uid": format!("u{number}")},
        "spec": {"podCIDRs": [format!("10.244.{number}.0/24")]},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("10.128.0.{number}")}]},
    })
}

fn hand_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, number, 2)
}

impl End {
    fn start(number: u8, node: Namespace, backend: Backend, site: &Site) -> Self {
        let Site { files, cluster, authority } = site;
        node.sh(&format!("ip addr add 10.128.0.{number}/24 dev eth0; ip link set eth0 up; ip route add default via 10.128.0.254"));
        let api = ApiServer::start(&node, "127.0.0.1:6443".parse().expect("an address"), authority, cluster);
        let folder = files.path().join(format!("n{number}"));
        fs::create_dir_all(&folder).expect("a folder");
        let config = format!(
            "version: v1\nclusterCIDRs: [10.244.0.0/16]\napiServers: [\"https://127.0.0.1:6443\"]\nbackend: {}\n",
            backend.name()
        );
        fs::write(folder.join("node.yaml"), config).expect("a file");
        let programs = programs::build(Profile::Release, &["tripod-node"]).expect("it builds");
        let mut command = Command::new(programs.join("tripod-node"));
        command
            .env("NODE_NAME", format!("n{number}"))
            .arg("agent")
            .arg("--config")
            .arg(folder.join("node.yaml"));
        command.arg("--conflist").arg(folder.join("net.d/10-tripod.conflist"));
        command.arg("--service-account-dir").arg(files.path().join("account"));
        let agent = Daemon::start_on(&node, command);
        let (ours, by_hand) = (Namespace::sandbox(), Namespace::sandbox());
        Self { number, node, ours, by_hand, _api: api, _agent: agent }
    }

    fn wait_for_route_to(&self, peer: u8) {
        let begin = Instant::now();
        let route = || self.node.sh(&format!("ip route show 10.244.{peer}.0/24"));
        while route().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no route to n{peer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn attach(&self, files: &Folder, backend: Backend) {
        let conflist = files.join(format!("n{}/net.d/10-tripod.conflist", self.number));
        let list: Value = serde_json::from_slice(&fs::read(conflist).expect("a file")).expect("JSON");
        let mut conf = list["plugins"][0].clone();
        conf["name"] = list["name"].clone();
        conf["cniVersion"] = json!("1.1.0");
        drop(Call::new("ADD", &conf).netns(&self.ours.path()).run(&self.node).ok());
        let mtu = self.ours.json("ip -j link show eth0")[0]["mtu"].as_u64();
        assert_eq!(mtu, Some(backend.mtu().into()), "or the two are not alike");
    }

    fn link_by_hand(&self, peer: u8, backend: Backend) {
        throughput::make_by_hand(&self.node, &self.by_hand, 1, hand_address(self.number), backend.mtu());
        let (own, prefix) = (self.number, format!("10.9.{peer}.0/24"));
        self.node.sh(&match backend {
            Backend::Direct => format!("ip route add {prefix} via 10.128.0.{peer} src 10.128.0.{own}"),
            Backend::Vxlan => format!(
                "ip link add hand4 address 02:00:00:00:01:0{own} type vxlan id 7 dstport 8472 local 10.128.0.{own} \
                   nolearning; \
                 ip addr add 10.128.0.{own}/32 dev hand4; ip link set hand4 mtu {} up; \
                 bridge fdb add 02:00:00:00:01:0{peer} dev hand4 dst 10.128.0.{peer} self; \
                 ip neighbour add 10.9.{peer}.0 lladdr 02:00:00:00:01:0{peer} nud permanent dev hand4; \
                 ip route add {prefix} via 10.9.{peer}.0 dev hand4 onlink src 10.128.0.{own}",
                backend.mtu()
            ),
        });
    }
}
