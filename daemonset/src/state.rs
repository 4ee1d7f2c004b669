//! `agent.json`: the last known facts about this node and the others, so that a restart needs no API server.

use serde::{Deserialize, Serialize};

use crate::claims::Peer;
use crate::node_facts::NodeFacts;

/// Name of the file in the agent's state folder.
pub const FILE: &str = "agent.json";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    version: Version,
    /// Name of the Node the facts are about.
    pub node: String,
    /// The facts.
    #[serde(flatten)]
    pub facts: NodeFacts,
    /// The nodes that it was linked with; none in the file of a version that linked no nodes.
    #[serde(default)]
    pub peers: Option<Vec<Peer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Version {
    V1,
}

impl Snapshot {
    /// The facts about `node`, and its peers.
    pub fn new(node: &str, facts: NodeFacts, peers: Vec<Peer>) -> Self {
        Self { version: Version::V1, node: node.to_owned(), facts, peers: Some(peers) }
    }

    /// Parses the file's text.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Renders the file's text.
    pub fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let facts = NodeFacts {
            uid: "u1".into(),
            pod_cidrs: vec!["10.1.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            node_ips: vec!["10.0.0.1".parse().unwrap()],
        };
        let snapshot = Snapshot::new("n1", facts, Vec::new());
        let text = snapshot.render().unwrap();
        let expected = "{\"version\":\"v1\",\"node\":\"n1\",\"uid\":\"u1\",\"podCIDRs\":[\"10.1.0.0/24\",\"fd00::/64\"],\
            \"nodeIPs\":[\"10.0.0.1\"],\"peers\":[]}\n";
        assert_eq!(String::from_utf8(text.clone()).unwrap(), expected);
        assert_eq!(Snapshot::parse(&text).unwrap(), snapshot);
    }

    #[test]
    fn torn_or_foreign_text_is_refused() {
        for text in
            ["", "{\"version\":\"v1\"", "{\"version\":\"v2\",\"node\":\"n\",\"podCIDRs\":[],\"nodeIPs\":[]}"]
        {
            Snapshot::parse(text.as_bytes()).unwrap_err();
        }
    }
}
