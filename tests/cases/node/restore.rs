//! What running pods have in nf_tables when somebody flushed it: the agent puts it back by their records,
//! and takes nothing from whoever came meanwhile.

use std::fs::File;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde_json::{Value, json};
use tripod_tests::apiserver::ApiServer;
use tripod_tests::daemon::Daemon;
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::agent::{DUAL, Lab, node, with_net_admin_alone};
use crate::cni::footprint;

/// A node with an uplink whose agent is ready.
pub(super) struct Site {
    pub(super) lab: Lab,
    pub(super) agent: Daemon,
    _api: ApiServer,
}

impl Site {
    pub(super) fn new() -> Option<Self> {
        Some(Self::of(Lab::new()?))
    }

    /// The same on this node.
    pub(super) fn of(lab: Lab) -> Self {
        let api = lab.api_server();
        lab.cluster.set_node(Some(node(&DUAL)));
        lab.wire();
        let agent = lab.agent();
        lab.wait_until_ready();
        Self { lab, agent, _api: api }
    }

    /// A pod of the agent's own network with these host ports.
    pub(super) fn routed(&self, container: &str, ports: Value) -> Pod {
        let list: Value = serde_json::from_str(&self.lab.conflist()).expect("a conflist");
        let mut conf = list["plugins"][0].clone();
        conf["name"] = list["name"].clone();
        conf["cniVersion"] = json!("1.1.0");
        conf["runtimeConfig"] = json!({ "portMappings": ports });
        Pod::add(&self.lab.node, container, conf)
    }

    /// A pod on a bridge that may send from its own addresses only, with a host port.
    fn bridged(&self, container: &str) -> Pod {
        let ports = json!([{"hostPort": 9090, "containerPort": 90, "protocol": "tcp"}]);
        let conf = json!({
            "cniVersion": "1.1.0", "name": "bridged", "type": "tripod-cni", "mode": "bridge", "bridge": "br7",
            "isDefaultGateway": true, "macspoofchk": true, "runtimeConfig": {"portMappings": ports},
            "ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]},
        });
        Pod::add(&self.lab.node, container, conf)
    }

    fn sh(&self, script: &str) {
        self.lab.node.sh(script);
    }

    fn rules(&self) -> Value {
        rules(&self.lab.node)
    }

    fn restored(&self) -> usize {
        self.agent.log().matches("restored what the attachment lost").count()
    }

    /// Waits until the agent has begun to look at everything `times` more, and so ended all but the last.
    pub(super) fn wait_for_looks(&self, times: u32) {
        for _ in 0..times {
            eventually("the guard is there", || self.lab.table().contains("chain guard"));
            self.sh("nft delete chain inet tripod guard");
            eventually("the agent has looked", || self.lab.table().contains("chain guard"));
        }
    }
}

/// An attached sandbox.
pub(super) struct Pod {
    pub(super) sandbox: Namespace,
    container: String,
    conf: Value,
}

impl Pod {
    fn add(node: &Namespace, container: &str, conf: Value) -> Self {
        let pod = Self { sandbox: Namespace::sandbox(), container: container.to_owned(), conf };
        pod.call("ADD")
            .env("CNI_ARGS", &format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={container}"))
            .run(node)
            .ok();
        pod
    }

    fn call(&self, verb: &str) -> Call {
        Call::new(verb, &self.conf).container(&self.container).netns(&self.sandbox.path())
    }

    pub(super) fn del(&self, site: &Site) {
        self.call("DEL").run(&site.lab.node).silent();
    }
}

fn web() -> Value {
    json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "172.30.0.11"},
    ])
}

/// All rules and elements, without the numbers that the kernel gives anew and in no order of chance.
fn rules(node: &Namespace) -> Value {
    let mut document = node.json("nft -j list ruleset");
    settle(&mut document);
    document["nftables"].as_array_mut().expect("objects").sort_by_cached_key(place);
    document
}

/// Tables, chains and sets come in the order of their making; rules keep theirs within a chain.
fn place(object: &Value) -> [String; 3] {
    let (kind, it) = object.as_object().and_then(|object| object.iter().next()).expect("an object");
    let name = it.get("chain").or(it.get("name")).unwrap_or(&Value::Null);
    [it["family"].to_string(), kind.clone(), name.to_string()]
}

fn settle(value: &mut Value) {
    if let Value::Object(object) = value {
        object.remove("handle");
        object.get_mut("elem").and_then(Value::as_array_mut).into_iter().for_each(|elements| {
            elements.sort_by_key(Value::to_string);
        });
        object.values_mut().for_each(settle);
    } else if let Value::Array(array) = value {
        array.iter_mut().for_each(settle);
    }
}

#[test]
fn a_flushed_ruleset_comes_back_with_host_ports_and_bridge_guard() {
    let Some(site) = Site::new() else { return };
    let (_web, _bridged) = (site.routed("web", web()), site.bridged("db"));
    let (before, links) = (site.rules(), footprint(&site.lab.node));
    for part in
        ["hostports4", "hostip_ports4", "hairpin6", "bounce", "mac_ports", "sources6", "8080", "5353", "9090"]
    {
        assert!(before.to_string().contains(part), "{part} is not in {before}");
    }
    site.sh("nft flush ruleset");
    eventually("everything is back", || site.rules() == before);
    assert_eq!(footprint(&site.lab.node), links);
    assert_eq!(site.restored(), 2, "{}", site.agent.log());
    assert!(site.agent.log().contains("shop/web") && site.agent.log().contains("shop/db"));
    // A node that is as it should be is left in peace.
    let handles =
        || site.lab.node.sh("nft -a list table bridge tripod; nft -a list map inet tripod hostports4");
    let quiet = handles();
    site.wait_for_looks(2);
    assert_eq!((handles(), site.restored()), (quiet, 2));
}

#[test]
fn each_part_that_is_lost_alone_comes_back() {
    let Some(site) = Site::new() else { return };
    let (_web, _bridged) = (site.routed("web", web()), site.bridged("db"));
    let before = site.rules();
    for loss in [
        "nft delete table bridge tripod",
        "nft flush table bridge tripod",
        "nft flush set bridge tripod macs",
        "nft flush set bridge tripod sources4",
        "nft delete table inet tripod",
        "nft flush chain inet tripod hostports_output",
        "nft flush set inet tripod bounce",
        "nft flush set inet tripod hairpin6",
        "nft delete element inet tripod hostports4 { tcp . 8080 }",
    ] {
        site.agent.held(|| {
            site.sh(loss);
            assert_ne!(site.rules(), before, "{loss}");
        });
        eventually(loss, || site.rules() == before);
    }
}

#[test]
fn an_agent_that_was_away_restores_at_its_start_with_the_rights_of_its_container() {
    let Some(mut site) = Site::new() else { return };
    site.agent.terminate();
    let (_web, _bridged) = (site.routed("web", web()), site.bridged("db"));
    let before = site.rules();
    site.sh("nft flush ruleset");
    let _agent = site.lab.agent_as(with_net_admin_alone(), &["--resync", "1"]);
    eventually("everything is back", || site.rules() == before);
}

#[test]
fn what_was_deleted_stays_away() {
    let Some(site) = Site::new() else { return };
    let (web, db) = (site.routed("web", web()), site.bridged("db"));
    web.del(&site);
    db.del(&site);
    let before = site.rules();
    site.sh("nft flush ruleset");
    site.wait_for_looks(2);
    assert!(!before.to_string().contains("8080") && !site.rules().to_string().contains("hostports4"));
    // A pod whose link is gone, of which the runtime has not told yet.
    let gone = site.routed("gone", web2());
    site.sh("ip -o link show group 29808 | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/' | xargs -n1 ip link delete");
    site.sh("nft flush ruleset");
    site.wait_for_looks(2);
    assert!(!site.rules().to_string().contains("8081"), "{}", site.rules());
    gone.del(&site);
    assert_eq!(site.restored(), 0);
}

fn web2() -> Value {
    json!([{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}])
}

/// A DEL that is at work would not take out again what is put back behind its back.
#[test]
fn an_attachment_that_a_call_works_on_is_left_to_it() {
    let Some(site) = Site::new() else { return };
    let _web = site.routed("web", web());
    let before = site.rules();
    let held = site.lab.node.run(|| hold_all("/run/tripod/attachments/lock"));
    site.sh("nft flush ruleset");
    site.wait_for_looks(2);
    assert!(!site.rules().to_string().contains("8080"), "{}", site.rules());
    drop(held);
    eventually("everything is back", || site.rules() == before);
}

/// Keeps every call from every attachment.
pub(super) fn hold_all(path: &str) -> File {
    let file = File::options().write(true).open(path).expect("the lock of attachments");
    let all = libc::flock {
        l_type: libc::F_WRLCK.try_into().expect("a short number"),
        l_whence: libc::SEEK_SET.try_into().expect("a short number"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&all)).expect("nobody else has it");
    file
}

#[test]
fn a_port_that_another_pod_got_meanwhile_stays_that_pods_and_is_told_once() {
    let Some(mut site) = Site::new() else { return };
    let (_web, _db) = (site.routed("web", web()), site.bridged("db"));
    let before = site.rules();
    site.agent.terminate();
    site.sh("nft flush ruleset");
    let late = site.routed("late", json!([{"hostPort": 8080, "containerPort": 1, "protocol": "tcp"}]));
    site.agent = site.lab.agent();
    site.agent.wait_for_log("host port tcp 8080 is taken by container late on eth0 (pod shop/late)");
    eventually("the other pod's are back", || site.rules().to_string().contains("9090"));
    // One pod is in no other's way. Its ports come back before the look that does it has ended.
    site.lab.wait_until_ready();
    site.wait_for_looks(2);
    assert_eq!(site.agent.log().matches("host port tcp 8080 is taken").count(), 1, "{}", site.agent.log());
    late.del(&site);
    eventually("everything is back", || site.rules() == before);
    site.agent.wait_for_log("does not stop the restoring");
}
