//! Networks of bridge plugins, the reference's and ours, called alike.

use std::path::PathBuf;

use serde_json::{Value, json};
use tripod_tests::exec::{Call, Outcome};
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use crate::cni::footprint;

/// A bridge plugin under test.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) program: PathBuf,
    pub(super) is_ours: bool,
}

/// A network of one plugin on a node.
pub(super) struct Network<'a> {
    pub(super) plugin: &'a Plugin,
    pub(super) node: &'a Namespace,
    pub(super) conf: Value,
}

impl Plugin {
    pub(super) fn ours() -> Self {
        Self { program: programs::program("tripod-cni"), is_ours: true }
    }

    /// The reference first, so that a case which it fails is a wrong case.
    pub(super) fn all() -> Vec<Self> {
        let reference = programs::target_dir().join("cluster/bin/bridge");
        let reference = reference.exists().then_some(Self { program: reference, is_ours: false });
        reference.into_iter().chain([Self::ours()]).collect()
    }

    /// A network with both families and these keys.
    pub(super) fn network<'a>(&'a self, node: &'a Namespace, keys: Value) -> Network<'a> {
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "mode": "bridge", "bridge": "br7",
            "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]},
        });
        if !self.is_ours {
            conf["ipam"]["type"] = json!("host-local");
            conf["ipam"]["dataDir"] = json!("/run/host-local");
        }
        for (key, value) in keys.as_object().expect("keys") {
            conf[key] = value.clone();
        }
        Network { plugin: self, node, conf }
    }
}

impl Network<'_> {
    pub(super) fn call(&self, verb: &str, container: &str, sandbox: &Namespace) -> Call {
        let folder = self.plugin.program.parent().and_then(|folder| folder.to_str()).expect("a folder");
        Call::of(&self.plugin.program, verb, &self.conf)
            .env("CNI_PATH", folder)
            // The reference plugin executes `nft` for `macspoofchk`.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .container(container)
            .netns(&sandbox.path())
    }

    pub(super) fn try_add(&self, container: &str, sandbox: &Namespace) -> Outcome {
        self.call("ADD", container, sandbox).run(self.node)
    }

    pub(super) fn add(&self, container: &str) -> Pod {
        let sandbox = Namespace::sandbox();
        let result = self.try_add(container, &sandbox).ok();
        Pod { sandbox, result, settles: !self.plugin.is_ours }
    }

    pub(super) fn del(&self, container: &str, pod: &Pod) {
        self.call("DEL", container, &pod.sandbox).run(self.node).silent();
    }

    pub(super) fn check(&self, container: &str, pod: &Pod) -> Outcome {
        let mut conf = self.conf.clone();
        conf["prevResult"] = pod.result.clone();
        Network { conf, ..*self }.call("CHECK", container, &pod.sandbox).run(self.node)
    }
}

pub(super) struct Pod {
    pub(super) sandbox: Namespace,
    pub(super) result: Value,
    /// Whether its network may need time after ADD: the reference plugin lets the kernel look for
    /// duplicates of IPv6 addresses, which takes a second; ours are in use when ADD returns.
    pub(super) settles: bool,
}

impl Pod {
    pub(super) fn addresses(&self) -> Vec<String> {
        let ips = self.result["ips"].as_array().expect("addresses");
        ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
    }

    pub(super) fn host_end(&self) -> &str {
        self.result["interfaces"][1]["name"].as_str().expect("a name")
    }

    pub(super) fn reaches(&self, address: &str) -> bool {
        self.sandbox.try_sh(&format!("ping -c1 -W1 {address}")).status.success()
    }

    /// It must reach `address` with its first packet.
    pub(super) fn must_reach(&self, address: &str) {
        let ping = format!("ping -c1 -W5 {address}");
        self.must(address, || self.sandbox.try_sh(&ping).status.success());
    }

    /// `probe` must hold when ADD is over, or with the reference plugin some time later.
    pub(super) fn must(&self, what: &str, mut probe: impl FnMut() -> bool) {
        if self.settles { tripod_tests::eventually(what, probe) } else { assert!(probe(), "{what}") }
    }
}

/// The footprint when the bridge's own link-local address is in use, which takes the kernel a second.
pub(super) fn settled_footprint(node: &Namespace) -> Value {
    tripod_tests::eventually("the bridge has its link-local address", || {
        let addresses = node.json("ip -j -6 address show dev br7 scope link -tentative");
        addresses[0]["addr_info"].as_array().is_some_and(|list| !list.is_empty())
    });
    footprint(node)
}

/// A machine behind the node, which knows the way back to the pods.
pub(super) fn far(node: &Namespace) -> Namespace {
    let far = Namespace::sandbox();
    node.sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {}; ip link set uplink up; \
         ip address add 192.0.2.1/24 dev uplink; ip address add 2001:db8::1/64 dev uplink nodad",
        far.path().display()
    ));
    far.sh("ip link set lo up; ip link set eth0 up; \
            ip address add 192.0.2.2/24 dev eth0; ip address add 2001:db8::2/64 dev eth0 nodad; \
            ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1");
    for address in ["192.0.2.1", "2001:db8::1"] {
        tripod_tests::eventually(address, || far.try_sh(&format!("ping -c1 -W1 {address}")).status.success());
    }
    far
}
