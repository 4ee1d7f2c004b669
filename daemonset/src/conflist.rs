//! The network configuration list that makes the runtime call `tripod-cni`.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde::Serialize;

/// Name of the network, and of the folder below the lease store.
pub const NETWORK: &str = "tripod";

/// Renders the conflist of a node. `pod_cidrs` come in the order of the Node's `spec.podCIDRs`, since
/// the first gives a pod's first address. The list itself carries version 1.0.0 and names 1.1.0 in
/// `cniVersions`, so that old runtimes read it and new ones ask for STATUS and GC.
pub fn render(pod_cidrs: &[IpNetwork], node_ips: &[IpAddr], mtu: Option<u32>, agent_state: &Path) -> Vec<u8> {
    let ranges = pod_cidrs.iter().map(|cidr| vec![Range { subnet: *cidr }]).collect();
    let ipam = Ipam { kind: "tripod", ranges };
    let capabilities = Capabilities { port_mappings: true, bandwidth: true };
    let plugin =
        Plugin { kind: "tripod-cni", mode: "routed", capabilities, mtu, agent_state, node_ips, ipam };
    let list =
        Conflist { cni_version: "1.0.0", cni_versions: ["1.0.0", "1.1.0"], name: NETWORK, plugins: [plugin] };
    // `{:#}` of a value cannot fail, and values of these types always become JSON.
    let mut text = serde_json::to_value(&list).map(|value| format!("{value:#}")).unwrap_or_default();
    text.push('\n');
    text.into_bytes()
}

/// Other configurations among `names` that the runtime reads before `ours`, because it takes the first
/// by name.
pub fn preempting<'a>(names: impl IntoIterator<Item = &'a str>, ours: &str) -> Vec<&'a str> {
    let read = |name: &&str| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
    let mut earlier: Vec<_> = names.into_iter().filter(read).filter(|name| *name < ours).collect();
    earlier.sort_unstable();
    earlier
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conflist<'a> {
    cni_version: &'a str,
    cni_versions: [&'a str; 2],
    name: &'a str,
    plugins: [Plugin<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plugin<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    mode: &'a str,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    agent_state: &'a Path,
    #[serde(rename = "nodeIPs")]
    node_ips: &'a [IpAddr],
    ipam: Ipam<'a>,
}

/// What the runtime is to tell about each pod.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
    bandwidth: bool,
}

#[derive(Serialize)]
struct Ipam<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    ranges: Vec<Vec<Range>>,
}

#[derive(Serialize)]
struct Range {
    subnet: IpNetwork,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conflist_of_a_dual_stack_node() {
        let cidrs = ["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()];
        let ips = ["172.30.0.11".parse().unwrap(), "fd00:30::11".parse().unwrap()];
        let text = String::from_utf8(render(&cidrs, &ips, None, Path::new("/run/tripod"))).unwrap();
        let expected = r#"{
  "cniVersion": "1.0.0",
  "cniVersions": [
    "1.0.0",
    "1.1.0"
  ],
  "name": "tripod",
  "plugins": [
    {
      "type": "tripod-cni",
      "mode": "routed",
      "capabilities": {
        "portMappings": true,
        "bandwidth": true
      },
      "agentState": "/run/tripod",
      "nodeIPs": [
        "172.30.0.11",
        "fd00:30::11"
      ],
      "ipam": {
        "type": "tripod",
        "ranges": [
          [
            {
              "subnet": "10.244.1.0/24"
            }
          ],
          [
            {
              "subnet": "fd00:10:244:1::/64"
            }
          ]
        ]
      }
    }
  ]
}
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn an_mtu_is_named_only_when_the_admin_chose_one() {
        let text = render(&["10.0.0.0/24".parse().unwrap()], &[], Some(1400), Path::new("/run/tripod"));
        let list: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(list["plugins"][0]["mtu"], 1400);
        assert_eq!(list["plugins"][0]["nodeIPs"], serde_json::json!([]));
    }

    #[test]
    fn only_configurations_that_sort_before_ours_preempt_it() {
        let names = ["87-podman.conflist", "05-other.conf", "10-tripod.conflist", "00-note.txt", "09-x.json"];
        assert_eq!(preempting(names, "10-tripod.conflist"), ["05-other.conf", "09-x.json"]);
    }
}
