//! What an agent may write, judged by the API server. Its identity is put on by the admin, and every request
//! is a dry run, so that nothing is left.

use super::install::install;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// A TripodNode as an agent writes it, of the node with this UID and with these pod CIDRs.
fn tripod_node(name: &str, uid: &str, pod_cidrs: &str) -> String {
    format!(
        "{{apiVersion: tripod.dev/v1alpha1, kind: TripodNode, metadata: {{name: {name}, ownerReferences: [\
           {{apiVersion: v1, kind: Node, name: {name}, uid: {uid}}}]}}, spec: {{\
           nodeUID: {uid}, addresses: [192.0.2.10, \"2001:db8::10\"],\
           podCIDRs: {pod_cidrs}, vtepMAC: \"02:00:5e:00:53:01\", protocol: 1}}}}\n"
    )
}

fn uid_of(cluster: &Cluster, node: &str) -> anyhow::Result<String> {
    let node = cluster.kubectl()?.get(&["node", node])?;
    Ok(node["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// What agents say of their Nodes.
const CONDITION: &str = "conditions: [{type: NetworkUnavailable, status: \"False\"}]";

/// The agent of one node; or one whose token names no node.
struct Agent<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl<'a>,
    node: Option<&'a str>,
}

pub(super) fn an_agent_writes_only_its_own(cluster: &Cluster) -> anyhow::Result<()> {
    install(cluster)?;
    let [own, other, ..] = cluster.nodes() else { anyhow::bail!("two nodes are needed") };
    let (own, other) = (own.name(), other.name());
    let (uid, other_uid) = (uid_of(cluster, own)?, uid_of(cluster, other)?);
    let agent = |node| anyhow::Ok(Agent { cluster, kubectl: cluster.kubectl()?, node });
    let (here, nowhere) = (agent(Some(own))?, agent(None)?);
    step("an agent writes its own Node's conditions and its own TripodNode", || {
        here.patch_status(own, CONDITION)?;
        here.apply(&tripod_node(own, &uid, "[10.1.0.0/24, \"fd00:1::/64\"]"))
    })?;
    step("and no other's", || {
        let told = format!("the Tripod of node {own} may change only its own node");
        is_refused(here.patch_status(other, CONDITION), &told)?;
        is_refused(here.apply(&tripod_node(other, &other_uid, "[10.1.0.0/24]")), &told)
    })?;
    step("a token that names no node writes nothing", || {
        is_refused(nowhere.patch_status(own, CONDITION), "names no node")
    })?;
    step("no agent moves a Node to another address, or writes a TripodNode that outlives its Node", || {
        let moved = "addresses: [{type: InternalIP, address: 192.0.2.66}]";
        is_refused(here.patch_status(own, moved), "writes conditions of its Node and nothing else")?;
        let unowned = tripod_node(own, &other_uid, "[10.1.0.0/24]")
            .replace(&format!("uid: {other_uid}}}]"), &format!("uid: {uid}}}]"));
        is_refused(here.apply(&unowned), "belongs to its Node, with which it goes")
    })?;
    step("a TripodNode without sense is refused by its definition", || {
        is_refused(
            here.apply(&tripod_node(own, &uid, "[10.1.0.0/33]")),
            "each of podCIDRs must be a prefix",
        )?;
        is_refused(here.apply(&tripod_node(own, &uid, "[]")), "should have at least 1 items")
    })?;
    step("an agent reads no Secrets and no Pods, and starts none", || {
        is_refused(here.run(&["get", "secrets", "--all-namespaces"]), "forbidden")?;
        is_refused(here.run(&["get", "pods", "--all-namespaces"]), "forbidden")?;
        is_refused(here.run(&["run", "own", "--image=any", "--dry-run=server"]), "forbidden")
    })?;
    step("it makes no tokens, and no other pod CIDRs", || {
        is_refused(here.run(&["create", "token", "tripod", "--namespace=tripod-system"]), "forbidden")?;
        let patch = "--patch={\"spec\":{\"podCIDRs\":[\"10.1.0.0/24\"]}}";
        is_refused(here.run(&["patch", "node", own, patch, "--dry-run=server"]), "forbidden")
    })?;
    step("it deletes no Node and no TripodNode, its own among them", || {
        [("node", own), ("tripodnode", own), ("tripodnode", other)].into_iter().try_for_each(
            |(kind, name)| is_refused(here.run(&["delete", kind, name, "--dry-run=server"]), "forbidden"),
        )
    })
}

impl Agent<'_> {
    /// `kubectl patch` would read the status first, which no agent may.
    fn patch_status(&self, node: &str, status: &str) -> anyhow::Result<()> {
        let file = self.file(&format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}, status: {{{status}}}}}\n"
        ))?;
        let words =
            ["apply", "--server-side", "--force-conflicts", "--subresource=status", "--dry-run=server"];
        self.run(&[&words[..], &["--filename", &file]].concat())
    }

    /// As the agent does: the object may be there already.
    fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        let words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server"];
        self.run(&[&words[..], &["--filename", &self.file(manifest)?]].concat())
    }

    fn file(&self, manifest: &str) -> anyhow::Result<String> {
        let file = self.cluster.folder().join("as-agent.yaml");
        std::fs::write(&file, manifest)?;
        Ok(file.to_string_lossy().into_owned())
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut words = [words, &["--as=system:serviceaccount:tripod-system:tripod"]].concat();
        let node =
            self.node.map(|node| format!("--as-user-extra=authentication.kubernetes.io/node-name={node}"));
        words.extend(node.as_deref());
        self.kubectl.run(&words).map(drop)
    }
}

fn is_refused(outcome: anyhow::Result<()>, told: &str) -> anyhow::Result<()> {
    let Err(error) = outcome else { anyhow::bail!("it was allowed; expected: {told}") };
    let error = format!("{error:#}");
    anyhow::ensure!(error.contains(told), "expected: {told}\nwas told: {error}");
    Ok(())
}
