//! `tripod-node agent`: how it brings a node to its state, and what it leaves there.

use std::fs;
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

use super::{mode, names};

/// A node with an API server, and the folders its agent works in.
pub(super) struct Lab {
    pub(super) node: Namespace,
    pub(super) cluster: Cluster,
    pub(super) authority: Authority,
    files: TempDir,
}

/// Where the API server of a [`Lab`] listens.
pub(super) const API: &str = "127.0.0.1:6443";

impl Lab {
    /// `None` without root.
    pub(super) fn new() -> Option<Self> {
        let lab = Self {
            node: Namespace::node()?,
            cluster: Cluster::default(),
            authority: Authority::default(),
            files: tempfile::tempdir().expect("a folder"),
        };
        write_service_account(&lab.path("account"), &lab.authority);
        lab.configure("version: v1\nclusterCIDRs: [10.244.0.0/16, fd00:10:244::/48]\n");
        Some(lab)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes `node.yaml` with the API server's address.
    pub(super) fn configure(&self, text: &str) {
        self.configure_exactly(&format!("{text}apiServers: [\"https://{API}\"]\n"));
    }

    pub(super) fn configure_exactly(&self, text: &str) {
        fs::create_dir_all(self.path("config")).expect("a folder");
        fs::write(self.path("config/node.yaml"), text).expect("a file");
    }

    /// Gives the node its addresses on a link that leads nowhere.
    pub(super) fn wire(&self) {
        self.node.sh("ip link add uplink type veth peer name outside && ip addr add 172.30.0.11/24 dev uplink && \
                      ip addr add fd00:30::11/64 dev uplink nodad && ip link set uplink up && ip link set outside up");
    }

    pub(super) fn api_server(&self) -> ApiServer {
        ApiServer::start(&self.node, API.parse().expect("an address"), &self.authority, &self.cluster)
    }

    /// Starts the agent with the node's own `/run`, and everything else in the lab's folders.
    pub(super) fn agent(&self) -> Daemon {
        self.agent_with(&["--resync", "1"])
    }

    pub(super) fn agent_with(&self, extra: &[&str]) -> Daemon {
        self.agent_as(Command::new(program("tripod-node")), extra)
    }

    /// Starts the agent by a command that ends in its program.
    pub(super) fn agent_as(&self, mut command: Command, extra: &[&str]) -> Daemon {
        command.env("NODE_NAME", "n1").arg("agent");
        command.arg("--config").arg(self.path("config/node.yaml"));
        command.arg("--conflist").arg(self.conflist_path());
        command.arg("--service-account-dir").arg(self.path("account"));
        command.args(extra);
        Daemon::start_on(&self.node, command)
    }

    pub(super) fn conflist_path(&self) -> PathBuf {
        self.path("net.d/10-tripod.conflist")
    }

    pub(super) fn conflist(&self) -> String {
        fs::read_to_string(self.conflist_path()).unwrap_or_default()
    }

    /// The status line and the body of an answer to a probe.
    pub(super) fn probe(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.0\\r\\n\\r\\n");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/9674 && printf '{request}' >&3 && cat <&3");
        self.node.sh(&format!("bash -c \"{script}\" 2>/dev/null || true"))
    }

    pub(super) fn wait_until_ready(&self) {
        eventually("the agent is ready", || self.probe("/readyz").contains(" 200 OK"));
    }

    pub(super) fn wait_for_conflist(&self, what: &str, holds: impl Fn(&str) -> bool) {
        eventually(what, || holds(&self.conflist()));
    }

    /// The node's table as `nft` tells it, empty when there is none.
    pub(super) fn table(&self) -> String {
        self.node.sh("nft list table inet tripod 2>/dev/null || true")
    }

    pub(super) fn sysctl(&self, key: &str) -> String {
        self.node.sh(&format!("cat /proc/sys/net/{key}")).trim().to_owned()
    }
}

/// Node `n1` with these pod CIDRs.
pub(super) fn node(pod_cidrs: &[&str]) -> Value {
    json!({
        "metadata": {"name": "n1", "uid": "1"},
        "spec": {"podCIDR": pod_cidrs.first(), "podCIDRs": pod_cidrs},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "172.30.0.11"},
                {"type": "InternalIP", "address": "fd00:30::11"},
                {"type": "Hostname", "address": "n1"},
            ],
            "conditions": [{"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"}],
        },
    })
}

/// Both families.
pub(super) const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

/// The conflist of a node with both.
pub(super) const GOLDEN: &str = include_str!("../../golden/node/10-tripod.conflist");

#[test]
fn a_node_without_pod_cidrs_waits_and_is_left_alone() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&[])));
    let _agent = lab.agent();
    eventually("the agent waits", || lab.probe("/readyz").contains("waiting for spec.podCIDRs"));
    assert!(lab.probe("/readyz").contains(" 503 "));
    assert!(lab.probe("/livez").contains(" 200 OK"));
    assert_eq!(lab.table(), "");
    assert_eq!(lab.sysctl("ipv4/ip_forward"), "0");
    assert_eq!(lab.node.sh("ls /run"), "");
    assert!(!lab.path("net.d").exists());
    assert_eq!(lab.cluster.patches(), Vec::<Value>::new());

    lab.cluster.set_node(Some(node(&DUAL)));
    lab.wait_until_ready();
    assert_eq!(lab.conflist(), GOLDEN);
}

#[test]
fn a_node_with_pod_cidrs_gets_kernel_marker_conflist_and_condition() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    assert_eq!([lab.sysctl("ipv4/ip_forward"), lab.sysctl("ipv6/conf/all/forwarding")], ["1", "1"]);
    assert_eq!(lab.node.sh("ls -A /run/tripod"), "agent.json\nready\n");
    assert_eq!(lab.conflist(), GOLDEN);
    assert_eq!(mode(&lab.conflist_path()), 0o600);
    assert_eq!(names(&lab.path("net.d")), ["10-tripod.conflist"]);
    eventually("the condition is patched", || lab.cluster.patches().len() == 1);
    let condition = &lab.cluster.patches()[0]["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("NetworkUnavailable"), &json!("False")));
}

#[test]
fn the_plugin_works_with_the_agents_conflist_and_not_before() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    lab.wire();
    let agent = lab.agent();
    lab.wait_until_ready();
    // As a runtime does it: the list's name and version, then the plugin's own keys.
    let list: Value = serde_json::from_str(&lab.conflist()).unwrap();
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = json!("1.1.0");
    Call::new("STATUS", &conf).run(&lab.node).silent();
    let sandbox = Namespace::sandbox();
    let result = Call::new("ADD", &conf).netns(&sandbox.path()).run(&lab.node).ok();
    assert_eq!(result["ips"].as_array().unwrap().len(), 2);
    assert!(result["ips"][0]["address"].as_str().unwrap().starts_with("10.244.1."), "{result}");
    let route = lab.node.sh("ip route show proto 84");
    assert!(route.contains("src 172.30.0.11"), "{route}");
    drop(agent);
    // After a boot the conflist is still there and the marker is not.
    lab.node.sh("rm /run/tripod/ready");
    let (code, message) = Call::new("STATUS", &conf).run(&lab.node).failed();
    assert_eq!(code, 50, "{message}");
    let (code, message) =
        Call::new("ADD", &conf).container("c2").netns(&sandbox.path()).run(&lab.node).failed();
    assert_eq!(code, 11, "{message}");
}

#[test]
fn a_node_that_hears_its_router_goes_on_hearing_it() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    let router = Namespace::sandbox();
    let (tid, links) = (router.path().display().to_string(), ["uplink", "other"]);
    for link in links {
        lab.node
            .sh(&format!("ip link add {link} type veth peer name {link} netns {tid}; ip link set {link} up"));
        router.sh(&format!("ip link set {link} up"));
    }
    advertise(&router, "uplink");
    let default_route = || lab.node.sh("ip -6 route show default");
    eventually("the router's route", || default_route().contains("proto ra"));
    lab.cluster.set_node(Some(node(&DUAL)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    assert_eq!(lab.sysctl("ipv6/conf/all/forwarding"), "1");
    assert!(default_route().contains("proto ra"), "the node forgot its router: {:?}", default_route());
    let accepts = |link: &str| lab.sysctl(&format!("ipv6/conf/{link}/accept_ra"));
    assert_eq!(links.map(accepts), ["2", "1"]);
}

/// Makes `router` say on `link` that it is one.
fn advertise(router: &Namespace, link: &str) {
    let script = format!(
        "import socket;s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58);\
         s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,255);\
         s.sendto(bytes([134,0,0,0,64,0,7,8]+[0]*8),('ff02::1',0,0,socket.if_nametoindex('{link}')))"
    );
    eventually("the router has a link-local address", || {
        let addresses = router.json(&format!("ip -j -6 address show dev {link} scope link -tentative"));
        addresses[0]["addr_info"].as_array().is_some_and(|list| !list.is_empty())
    });
    router.sh(&format!("python3 -c \"{script}\""));
}

/// The agent's program with the rights of its container.
pub(super) fn with_net_admin_alone() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"]);
    command.arg(program("tripod-node"));
    command
}

#[test]
fn the_agent_needs_no_other_capability_than_net_admin_and_no_writable_proc_sys() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    // As in the container: /proc/sys is read-only, and the node's part of it is mounted elsewhere.
    lab.node.sh("mkdir /run/sysctl && mount --bind /proc/sys/net /run/sysctl");
    lab.node.sh("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
    assert!(!lab.node.try_sh("echo 1 > /proc/sys/net/ipv4/ip_forward").status.success());
    let _agent = lab.agent_as(with_net_admin_alone(), &["--resync", "1", "--sysctl-root", "/run/sysctl"]);
    lab.wait_until_ready();
    assert_eq!([lab.sysctl("ipv4/ip_forward"), lab.sysctl("ipv6/conf/all/forwarding")], ["1", "1"]);
    assert!(lab.table().contains("chain guard"));
}

#[test]
fn a_restart_needs_no_api_server() {
    let Some(lab) = Lab::new() else { return };
    let api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let mut agent = lab.agent();
    lab.wait_until_ready();
    drop(api);
    agent.terminate();
    lab.node.sh("nft flush ruleset && echo 0 > /proc/sys/net/ipv4/ip_forward && rm /run/tripod/ready");
    fs::remove_file(lab.conflist_path()).unwrap();
    let _agent = lab.agent();
    lab.wait_until_ready();
    assert_eq!(lab.conflist(), GOLDEN);
    assert!(lab.table().contains("masquerade") && lab.table().contains("chain guard"));
    assert_eq!(lab.sysctl("ipv4/ip_forward"), "1");
}

#[test]
fn the_knowledge_about_another_node_is_not_believed() {
    let Some(lab) = Lab::new() else { return };
    let api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let mut agent = lab.agent();
    lab.wait_until_ready();
    drop((api, agent.terminate()));
    let agent = lab.agent_with(&["--node-name", "n2"]);
    agent.wait_for_log("ignored: it is another node's");
    eventually("it waits", || lab.probe("/readyz").contains("waiting for an API server"));
    lab.node.sh("echo '{\"version\":' > /run/tripod/agent.json");
    drop(agent);
    lab.agent().wait_for_log("ignored: it cannot be read");
}

#[test]
fn a_terminated_agent_removes_nothing() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    let mut agent = lab.agent();
    lab.wait_until_ready();
    let before = (lab.conflist(), lab.table(), lab.node.sh("ls -la --full-time /run/tripod"));
    assert!(agent.terminate().success());
    assert_eq!((lab.conflist(), lab.table(), lab.node.sh("ls -la --full-time /run/tripod")), before);
    assert_eq!(lab.sysctl("ipv4/ip_forward"), "1");
}

#[test]
fn a_foreign_conflist_that_comes_first_is_told_and_stays() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    fs::create_dir(lab.path("net.d")).unwrap();
    fs::write(lab.path("net.d/05-other.conflist"), "{}").unwrap();
    fs::write(lab.path("net.d/87-podman.conflist"), "{}").unwrap();
    let agent = lab.agent();
    agent.wait_for_log("other configurations sort before ours");
    assert!(agent.log().contains("05-other.conflist") && !agent.log().contains("87-podman"));
    assert_eq!(names(&lab.path("net.d")), ["05-other.conflist", "10-tripod.conflist", "87-podman.conflist"]);
}

#[test]
fn what_cannot_be_written_is_told_by_the_probe() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&DUAL)));
    fs::create_dir(lab.path("net.d")).unwrap();
    fs::set_permissions(lab.path("net.d"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let _agent = lab.agent();
    eventually("the probe tells", || {
        let answer = lab.probe("/readyz");
        answer.contains(" 503 ") && answer.contains("failing: ") && answer.contains("run chmod go-w on it")
    });
    assert_eq!(lab.cluster.patches(), Vec::<Value>::new());
    fs::set_permissions(lab.path("net.d"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    lab.wait_until_ready();
}
