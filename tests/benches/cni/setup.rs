//! The programs that take part, and what each is configured to do: the same for all.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::{self, Profile};

use crate::contender::{Contender, Plan};

/// What was built or found.
pub(crate) struct Programs {
    pub(crate) launcher: PathBuf,
    pub(crate) floor: PathBuf,
    pub(crate) tripod: PathBuf,
    /// Folder of the reference plugins, if they were built.
    pub(crate) reference: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn build() -> Self {
        let folder = programs::build(Profile::Release, &["tripod-cni"]).expect("the release build");
        let reference = programs::target_dir().join("cluster/bin");
        let built = ["bridge", "host-local", "portmap"].iter().all(|name| reference.join(name).exists());
        if !built {
            println!(
                "no reference plugins in {}: measuring without (`cargo e2e` builds them)",
                reference.display()
            );
        }
        Self {
            launcher: programs::compile("launch"),
            floor: programs::compile("floor"),
            tripod: folder.join("tripod-cni"),
            reference: built.then_some(reference),
        }
    }

    /// Without host ports.
    pub(crate) fn plain(&self) -> Vec<Contender> {
        let mut all = vec![self.floor(None), self.tripod("tripod-cni", conf())];
        all.extend(self.reference.as_deref().map(|folder| {
            let plan = Plan::new(&self.launcher, None).then(&folder.join("bridge"), bridge(false));
            Contender::new("bridge", plan)
        }));
        all
    }

    /// With masquerade and one TCP host port. The error is why `tripod-cni` cannot.
    pub(crate) fn with_port(&self) -> Result<Vec<Contender>, String> {
        let tripod = self.tripod_with_port("tripod-cni", "tcp");
        let sandbox = Namespace::sandbox();
        tripod.try_call("ADD", 0, &sandbox.path()).map_err(|refused| refused.0)?;
        tripod.call("DEL", 0, &sandbox.path());
        let mut all = vec![self.floor(Some("tcp")), tripod];
        all.extend(self.reference.as_deref().map(|folder| self.chain(folder)));
        Ok(all)
    }

    /// `tripod-cni` with masquerade and one host port.
    pub(crate) fn tripod_with_port(&self, name: &'static str, protocol: &'static str) -> Contender {
        let mut conf = conf();
        conf["ipMasq"] = json!(true);
        conf["capabilities"] = json!({"portMappings": true});
        Contender::new(name, Plan::new(&self.launcher, Some(protocol)).then(&self.tripod, conf))
    }

    /// `tripod-cni` with this configuration.
    pub(crate) fn tripod(&self, name: &'static str, conf: Value) -> Contender {
        Contender::new(name, Plan::new(&self.launcher, None).then(&self.tripod, conf))
    }

    /// On a node that has Tripod's guard chain, for which the floor asks, and a table with the sets that a
    /// host port goes into.
    fn floor(&self, protocol: Option<&'static str>) -> Contender {
        let plan = Plan::new(&self.launcher, protocol).then(&self.floor, Value::Null);
        let floor = Contender::new("floor", plan);
        let sandbox = Namespace::sandbox();
        let guard = Plan::new(&self.launcher, None).then(&self.tripod, conf());
        let path = sandbox.path();
        floor.node.run(move || {
            for verb in ["ADD", "DEL"] {
                guard.call(verb, 0, &path).expect("tripod-cni makes the guard chain");
            }
        });
        if protocol.is_some() {
            floor.node.sh("nft -f - <<'E'\ntable inet floor {\n\
                map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }\n\
                set hairpin { type ipv4_addr . ipv4_addr; }\n}\nE");
        }
        floor
    }

    fn chain(&self, folder: &Path) -> Contender {
        // The plugin's own default, where there is one.
        let backend =
            if Command::new("iptables").arg("-V").output().is_ok() { "iptables" } else { "nftables" };
        println!("reference chain: portmap with {backend}");
        let portmap = json!({
            "cniVersion": "1.0.0", "name": "reference", "type": "portmap",
            "capabilities": {"portMappings": true}, "backend": backend,
        });
        let plan = Plan::new(&self.launcher, Some("tcp"))
            .then(&folder.join("bridge"), bridge(true))
            .then(&folder.join("portmap"), portmap);
        let chain = Contender::new("bridge+portmap", plan);
        chain.node.sh("sysctl -qw net.ipv4.ip_forward=1");
        chain
    }
}

/// The smallest configuration, with the address space of one node many times over.
pub(crate) fn conf() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "tripod-cni",
        "ipam": {"ranges": [[{"subnet": "10.1.0.0/16"}]]},
    })
}

fn bridge(masquerade: bool) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "bench0",
        "isGateway": true, "isDefaultGateway": true, "ipMasq": masquerade,
        "ipam": {"type": "host-local", "dataDir": "/run/host-local", "ranges": [[{"subnet": "10.2.0.0/16"}]]},
    })
}
