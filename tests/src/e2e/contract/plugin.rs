//! The two plugins, called alike.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cluster::Programs;
use crate::e2e::site::Site;
use crate::exec::Call;
use crate::namespace::Namespace;
use crate::programs;

/// A plugin that gives pods routed links and addresses of their node's ranges.
pub(super) struct Plugin {
    pub(super) name: &'static str,
    program: PathBuf,
    /// Where it finds the plugin that its `ipam` names.
    path: String,
    ipam: &'static str,
    /// What else the configuration says.
    keys: Value,
}

impl Plugin {
    /// `ptp` with `host-local`.
    pub(super) fn reference(programs: &Programs) -> Self {
        let program = programs.built("ptp");
        let path = program.parent().expect("a program lies in a folder").display().to_string();
        Self { name: "reference", program, path, ipam: "host-local", keys: json!({}) }
    }

    /// `bridge` with `host-local`.
    pub(super) fn reference_bridge(programs: &Programs) -> Self {
        let program = programs.built("bridge");
        Self { name: "reference, bridge", program, keys: bridge(), ..Self::reference(programs) }
    }

    /// `tripod-cni` with its own leases.
    pub(super) fn tripod() -> Self {
        let program = programs::program("tripod-cni");
        let path = "/opt/cni/bin".to_owned();
        Self { name: "tripod", program, path, ipam: "tripod", keys: json!({}) }
    }

    /// The same in mode `bridge`.
    pub(super) fn tripod_bridge() -> Self {
        let mut keys = bridge();
        keys["mode"] = json!("bridge");
        Self { name: "tripod, bridge", keys, ..Self::tripod() }
    }

    /// Whether more than the contract may be asked: the reason stands where this is.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with("tripod")
    }

    /// A configuration with one range set per subnet.
    pub(super) fn conf(&self, version: &str, subnets: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
        let kind = self.program.file_name().expect("a program has a name").to_string_lossy();
        let mut conf = json!({
            "cniVersion": version, "name": "pods", "type": kind,
            "ipam": {
                "type": self.ipam, "ranges": ranges, "dataDir": "/run/leases",
                "routes": subnets.iter().map(|subnet| match subnet.contains(':') {
                    true => json!({"dst": "::/0"}),
                    false => json!({"dst": "0.0.0.0/0"}),
                }).collect::<Vec<_>>(),
            },
        });
        for (key, value) in self.keys.as_object().expect("keys") {
            conf[key] = value.clone();
        }
        conf
    }

    /// Both families.
    pub(super) fn dual(&self, version: &str) -> Value {
        self.conf(version, &["10.1.0.0/24", "fd00:1::/64"])
    }

    /// A call for container `c1` and interface `eth0`.
    pub(super) fn call(&self, verb: &str, conf: &Value) -> Call {
        Call::of(&self.program, verb, conf).env("CNI_PATH", &self.path)
    }

    /// Attaches `sandbox` as `container`.
    pub(super) fn attach(&self, site: &Site, sandbox: &Namespace, container: &str) -> Value {
        let add = self.call("ADD", &self.dual("1.1.0")).container(container);
        add.netns(&sandbox.path()).run(site.node()).ok()
    }
}

fn bridge() -> Value {
    json!({"bridge": "br7", "isGateway": true, "forceAddress": true})
}

/// The addresses of a result of version 0.3.0 or later, without their prefixes.
pub(super) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("no addresses in {result}"));
    let text = |ip: &Value| ip["address"].as_str().expect("an address").to_owned();
    ips.iter().map(|ip| text(ip).split('/').next().expect("an address").to_owned()).collect()
}

/// A node that has had one pod of `plugin`, so that what is the network's own is there.
pub(super) fn used_site(plugin: &Plugin) -> Site {
    let site = Site::new().expect("root may make a node");
    let sandbox = pod_sandbox();
    plugin.attach(&site, &sandbox, "first");
    let del = plugin.call("DEL", &plugin.dual("1.1.0")).container("first");
    del.netns(&sandbox.path()).run(site.node()).silent();
    site
}

/// A pod's sandbox. Whatever looks for duplicates of its addresses finds none at once.
pub(super) fn pod_sandbox() -> Namespace {
    let sandbox = Namespace::sandbox();
    sandbox.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    sandbox
}
