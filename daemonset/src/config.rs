//! `node.yaml`: what the admin says about this node's network, checked.

mod raw;

use std::fmt;

use ipnetwork::IpNetwork;

/// No sensible `node.yaml` is longer; a ConfigMap as a whole cannot exceed it either.
pub const LONGEST: u64 = 1 << 20;

/// Bound of each list in the file.
const MOST_ENTRIES: usize = 256;

/// A checked `node.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// API servers as `https://host:port`, tried in this order before the in-cluster address.
    pub api_servers: Vec<String>,
    /// Prefixes of all pods of the cluster, whose traffic keeps the pod's own address.
    pub cluster_cidrs: Vec<IpNetwork>,
    /// How nodes reach one another's pods.
    pub backend: Backend,
    /// The overlay.
    pub vxlan: Vxlan,
    /// The encrypted network between nodes.
    pub wireguard: WireguardSettings,
    /// MTU of pod links in bytes; none when the plugin shall find it.
    pub mtu: Option<u32>,
    /// What happens to the source address of packets that leave the cluster.
    pub masquerade: Masquerading,
    /// What to do about rules of others that drop what the node forwards.
    pub forward_drop: ForwardDrop,
}

/// What to do about rules of others that drop what the node forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardDrop {
    /// Say where and what to do.
    #[default]
    Report,
    /// Put rules before them that let this node's pods pass.
    Repair,
}

/// How nodes reach one another's pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// By a route where the peer is on a link of ours, through VXLAN otherwise.
    #[default]
    Auto,
    /// By routes alone.
    Direct,
    /// Through VXLAN alone.
    Vxlan,
    /// Through WireGuard alone, encrypted.
    Wireguard,
}

/// What WireGuard needs to be told, the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireguardSettings {
    /// UDP port.
    pub port: u16,
}

impl Default for WireguardSettings {
    /// The port that most of its users have.
    fn default() -> Self {
        Self { port: 51820 }
    }
}

/// The overlay's settings, the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Who computes checksums.
    pub checksum_offload: ChecksumOffload,
}

/// Who computes checksums of packets that leave through the overlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumOffload {
    /// The hardware, unless the kernel is known to leave wrong ones.
    #[default]
    Auto,
    /// The hardware, or whatever is there at last.
    On,
    /// The overlay itself, as some network cards and clouds need it.
    Off,
}

impl Default for Vxlan {
    /// The port is the one that IANA gave to VXLAN.
    fn default() -> Self {
        Self { vni: 84, port: 4789, checksum_offload: ChecksumOffload::Auto }
    }
}

/// Whether and for which destinations packets of pods leave with the node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerading {
    /// Whether any do.
    pub enabled: bool,
    /// Destinations beyond the cluster's own that see the pod's address.
    pub exclude: Vec<IpNetwork>,
}

impl Default for Masquerading {
    fn default() -> Self {
        Self { enabled: true, exclude: Vec::new() }
    }
}

/// Where in a file something is wrong; prints as `path:line:column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a `node.yaml` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that means nothing.
    #[error("{place}: unknown key {key:?}; known here: {}", known.join(", "))]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// The key as written.
        key: String,
        /// The keys that mean something at this place.
        known: Vec<&'static str>,
    },
    /// A key whose value cannot be.
    #[error("{place}: {key}: {value:?} {problem}")]
    Value {
        /// Where it stands.
        place: Place,
        /// Path of the key, for example `masquerade.exclude`.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A list longer than anything sensible.
    #[error("{file}: {key} has {count} entries, the limit is {MOST_ENTRIES}")]
    TooMany {
        /// Path of the file.
        file: String,
        /// Path of the key.
        key: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The text is no YAML, or has another shape.
    #[error("{place}: {problem}")]
    Shape {
        /// Where it stands.
        place: Place,
        /// What the parser says.
        problem: String,
    },
}

/// Parses the text of a `node.yaml`. `file` is its path, for errors.
pub fn parse(file: &str, text: &str) -> Result<NodeConfig, ConfigError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let raw: raw::Raw =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| raw::refusal(file, &error))?;
    raw.check(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse("/etc/tripod/node.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_readmes_example_is_valid() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```yaml\n# node.yaml\n").expect("an example");
        let config = parse("README.md", rest.split("```").next().unwrap_or_default()).unwrap();
        assert_eq!(config.cluster_cidrs.len(), 2);
        assert_eq!(config.api_servers.len(), 1);
    }

    #[test]
    fn a_version_alone_gives_the_defaults() {
        let config = parse("node.yaml", "version: v1\n").unwrap();
        assert_eq!(config, NodeConfig::default());
        assert!(config.masquerade.enabled);
    }

    #[test]
    fn every_key_of_the_schema_is_read() {
        let text = "version: v1\napiServers: [https://172.30.0.1:6443, 'https://[fd00::1]']\n\
            clusterCIDRs: [10.244.0.0/16, fd00:10::/48]\nbackend: direct\nmtu: 1450\n\
            masquerade: {enabled: false, exclude: [192.168.0.0/16]}\nvxlan: {vni: 7, port: 8472, checksumOffload: 'off'}\n\
            wireguard: {port: 51821}\n\
            forwardDrop: repair\nplatform: auto\n";
        let config = parse("node.yaml", text).unwrap();
        assert_eq!(config.api_servers, ["https://172.30.0.1:6443", "https://[fd00::1]"]);
        assert_eq!(config.cluster_cidrs.len(), 2);
        assert_eq!(
            (config.backend, config.vxlan),
            (Backend::Direct, Vxlan { vni: 7, port: 8472, checksum_offload: ChecksumOffload::Off })
        );
        assert_eq!(config.wireguard, WireguardSettings { port: 51821 });
        assert_eq!(config.mtu, Some(1450));
        assert_eq!(config.forward_drop, ForwardDrop::Repair);
        assert!(!config.masquerade.enabled);
        assert_eq!(config.masquerade.exclude, ["192.168.0.0/16".parse::<IpNetwork>().unwrap()]);
    }

    #[test]
    fn each_word_for_a_backend_is_known() {
        for (word, backend) in [
            ("auto", Backend::Auto),
            ("direct", Backend::Direct),
            ("vxlan", Backend::Vxlan),
            ("wireguard", Backend::Wireguard),
        ] {
            assert_eq!(
                parse("node.yaml", &format!("version: v1\nbackend: {word}\n")).unwrap().backend,
                backend
            );
        }
    }

    #[test]
    fn mtu_0_leaves_the_choice_to_the_plugin() {
        assert_eq!(parse("node.yaml", "version: v1\nmtu: 0\n").unwrap().mtu, None);
    }

    #[test]
    fn an_unknown_key_is_told_with_file_line_and_key() {
        let error = refusal("version: v1\nclusterCIDR: [10.0.0.0/8]\n");
        assert!(error.starts_with("/etc/tripod/node.yaml:2:1: unknown key \"clusterCIDR\""), "{error}");
        assert!(error.contains("clusterCIDRs"), "{error}");
        let error = refusal("version: v1\nmasquerade:\n  enable: true\n");
        assert!(error.starts_with("/etc/tripod/node.yaml:3:3: unknown key \"enable\""), "{error}");
    }

    #[test]
    fn values_that_cannot_be_are_told_with_their_place() {
        let cases = [
            ("version: v2\n", "/etc/tripod/node.yaml:1:10: version: \"v2\""),
            (
                "version: v1\nbackend: ipip\n",
                ":2:10: backend: \"ipip\" is no backend; set auto or direct or vxlan or wireguard",
            ),
            ("version: v1\nwireguard: {port: 0}\n", "wireguard.port: \"0\" is out of range; set 1 to 65535"),
            ("version: v1\nvxlan: {vni: 0}\n", "vxlan.vni: \"0\" is out of range; set 1 to 16777215"),
            ("version: v1\nvxlan: {port: 0}\n", "vxlan.port: \"0\" is out of range; set 1 to 65535"),
            (
                "version: v1\nvxlan: {checksumOffload: no}\n",
                "vxlan.checksumOffload: \"no\" is no vxlan.checksumOffload; set auto or on or off",
            ),
            (
                "version: v1\nforwardDrop: mend\n",
                "forwardDrop: \"mend\" is no forwardDrop; set report or repair",
            ),
            ("version: v1\nplatform: k3s\n", "platform: \"k3s\" is for the chart to know"),
            ("version: v1\nmtu: 500\n", "mtu: \"500\""),
            ("version: v1\nclusterCIDRs: [10.1.2.3/16]\n", "clusterCIDRs: \"10.1.2.3/16\""),
            ("version: v1\nclusterCIDRs: [ten]\n", "clusterCIDRs: \"ten\""),
            ("version: v1\napiServers: [\"http://1.2.3.4\"]\n", "apiServers: \"http://1.2.3.4\""),
            ("version: v1\napiServers: [\"https://a b\"]\n", "apiServers"),
            ("version: v1\napiServers: [\"https://1.2.3.4/path\"]\n", "apiServers"),
            ("version: v1\napiServers: [\"https://u:p@1.2.3.4\"]\n", "apiServers"),
        ];
        for (text, expected) in cases {
            let error = refusal(text);
            assert!(error.contains(expected), "{text:?} gave {error:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = refusal("version: v1\napiServers: [\"https://user:hunter2@1.2.3.4\"]\n");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn text_of_another_shape_is_refused() {
        for text in
            ["", "[]", "version: v1\nmtu: [1]\n", "version: v1\nversion: v1\n", "mtu: 0\n", "a: b: c\n"]
        {
            let error = refusal(text);
            assert!(error.starts_with("/etc/tripod/node.yaml"), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let many = vec!["10.0.0.0/8"; MOST_ENTRIES + 1].join(", ");
        let error = refusal(&format!("version: v1\nclusterCIDRs: [{many}]\n"));
        assert!(error.contains("clusterCIDRs has 257 entries"), "{error}");
    }
}
