//! The configuration of mode `chained`: what another main plugin made gets limits and parameters. No I/O.

use std::path::PathBuf;

use serde_json::Value;

use super::mode::refuse;
use super::raw::Object;
use super::{Bandwidth, Outline, Parameter, bridge, ports, runtime_config};
use crate::error::Error;
use crate::hostport::HostPort;
use crate::spec::{Prior, Version};

/// Keys that make interfaces and addresses, which are there already.
const OF_MAIN_PLUGINS: [&str; 5] = ["ipMasq", "ipam", "masqueradeExclude", "mtu", "nodeIPs"];

/// A checked configuration of mode `chained`.
#[derive(Clone, Debug)]
pub(crate) struct Chained {
    /// The version of the request and of the answer.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// Folder in which the agent's `ready` marker must stand; absent when the plugin works alone.
    pub agent_state: Option<PathBuf>,
    /// Host ports that lead to the pod.
    pub host_ports: Vec<HostPort>,
    /// Limits of what passes the pod's interface.
    pub bandwidth: Bandwidth,
    /// Parameters of the pod's namespace.
    pub sysctl: Vec<Parameter>,
    /// The result so far, as it was given.
    pub result: Value,
    /// The same, read.
    pub prior: Prior,
}

impl Outline {
    /// Checks all of a configuration of mode `chained`.
    pub(crate) fn complete_chained(self) -> Result<Chained, Error> {
        let object = &self.object;
        let problem = "is for the main plugin; mode \"chained\" comes after one and takes what it made";
        refuse(object, &OF_MAIN_PLUGINS, problem)?;
        refuse(object, &bridge::KEYS, problem)?;
        let runtime = runtime_config(object)?;
        let missing = || {
            let needed = "mode \"chained\" must come after a main plugin in \"plugins\"";
            Error::Missing { field: "prevResult", needed }
        };
        Ok(Chained {
            version: self.version,
            host_ports: host_ports(&runtime)?,
            bandwidth: Bandwidth::complete(object, &runtime)?,
            sysctl: Parameter::complete(object)?,
            result: object.value("prevResult").cloned().ok_or_else(missing)?,
            prior: object.get("prevResult")?.ok_or_else(missing)?,
            agent_state: object.path("agentState")?,
            name: self.name,
        })
    }
}

/// A port of 127.0.0.1 would need `route_localnet` on the main plugin's link or bridge. That opens the
/// node's loopback services to its pods (CVE-2020-8558), and our guard rules do not know those links.
fn host_ports(runtime: &Object) -> Result<Vec<HostPort>, Error> {
    let host_ports = ports::complete(runtime)?;
    let loopback = host_ports.iter().find_map(|port| port.host_ip.filter(|host| host.is_loopback()));
    match loopback {
        Some(host) => {
            let problem = "is not served in mode \"chained\"; take another hostIP or none";
            Err(Error::config("runtimeConfig.portMappings hostIP", host, problem))
        }
        None => Ok(host_ports),
    }
}
