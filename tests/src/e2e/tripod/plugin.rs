//! `kubectl tripod` as an admin has it: the program comes from the cluster, and asks by the real `kubectl`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::install::{self, RESOURCE};
use super::{agents, device};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// As the README has it.
const TAKE: &str = "kubectl -n tripod-system exec ds/tripod -c net -- /tripod-node kubectl-plugin > kubectl-tripod && \
    chmod +x kubectl-tripod";
/// Of `collect`, for each node.
const PARTS: [&str; 6] =
    ["status.json", "doctor.json", "kernel.json", "leases.json", "conflist.json", "node.yaml.json"];

pub(super) fn all_nodes_are_asked(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let (first, second) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    step("the plugin is taken from the cluster, as the README says", || kubectl.shell(TAKE))?;
    let pod = Pod::on(second.name(), "asked-for");
    step("a pod runs, and a device is plugged in", || {
        kubectl.run_pods(std::slice::from_ref(&pod))?;
        device::plug_in(&kubectl, first)
    })?;
    step("status: every node is ready, and linked", || status(cluster, &kubectl))?;
    step("leases: the pod's addresses are its node's", || leases(&kubectl, &pod))?;
    step("devices: the device is its node's", || devices(&kubectl, first))?;
    step("doctor: pods can start everywhere", || doctor(&kubectl, second))?;
    step("collect: an archive without secrets", || collect(cluster, &kubectl))?;
    step("an agent that is stopped is told, and the other as before", || silent(&kubectl, first, second))?;
    kubectl.delete_pod(&pod.name)?;
    device::unplug(&kubectl, first)
}

fn status(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let table = kubectl.shell("kubectl tripod status")?;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    anyhow::ensure!(rows.len() == cluster.nodes().len() + 1, "{table}");
    for (row, node) in rows.iter().skip(1).zip(cluster.nodes()) {
        anyhow::ensure!(row.starts_with(&[node.name(), "ready"]) && row.contains(&"1/1"), "{table}");
    }
    Ok(())
}

fn leases(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    let answer = one_node(kubectl, "leases", &pod.node)?;
    for address in kubectl.pod_addresses(&pod.name)? {
        let mut leases = answer.as_array().into_iter().flatten();
        let is_alive = leases.any(|lease| lease["address"] == *address && lease["alive"] == true);
        anyhow::ensure!(is_alive, "no living lease of {address} in {answer}");
    }
    Ok(())
}

fn devices(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let answer = one_node(kubectl, "devices", node.name())?;
    let mut devices = answer["devices"].as_array().into_iter().flatten();
    anyhow::ensure!(devices.any(|device| device["resource"] == RESOURCE), "{answer}");
    Ok(())
}

/// With packets to the other node and its pods, and the files that another container sees.
fn doctor(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let table = kubectl.shell("kubectl tripod doctor")?;
    let answer = one_node(kubectl, "doctor", node.name())?;
    let findings = || answer.as_array().into_iter().flatten();
    let unwell: Vec<_> = findings().filter(|finding| finding["severity"] != "ok").collect();
    anyhow::ensure!(unwell.is_empty(), "{unwell:?}\n{table}");
    for (check, object) in
        [("path", "peers"), ("clock", ""), ("token", ""), ("files", "/opt/cni/bin"), ("device-plugin", "")]
    {
        let mut alike = findings().filter(|finding| finding["check"] == check);
        let is_there =
            alike.any(|finding| finding["object"].as_str().is_some_and(|it| it.starts_with(object)));
        anyhow::ensure!(is_there, "no {check} of {object:?} in {answer}");
    }
    let peers = findings().find(|finding| finding["object"] == "peers").map(|it| it["evidence"].to_string());
    let peers = peers.unwrap_or_default();
    anyhow::ensure!(peers.contains("1 peers tried, 0 findings; 1500 bytes get to a node"), "{peers}");
    Ok(())
}

/// The answer of one node, and no other is asked.
fn one_node(kubectl: &Kubectl<'_>, verb: &str, node: &str) -> anyhow::Result<Value> {
    let text = kubectl.shell(&format!("kubectl tripod {verb} {node} --json"))?;
    let answers: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let [answer] = answers.as_array().map_or(&[][..], Vec::as_slice) else {
        anyhow::bail!("not one answer: {text}");
    };
    anyhow::ensure!(answer["node"] == node, "{text}");
    Ok(answer["answer"].clone())
}

fn collect(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let file = cluster.folder().join("tripod.tar");
    kubectl.shell(&format!("kubectl tripod collect --output {}", file.display()))?;
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    anyhow::ensure!(mode == 0o600, "the archive has mode {mode:o}");
    let bytes = fs::read(&file)?;
    let files = files(&bytes)?;
    for node in cluster.nodes() {
        for part in PARTS {
            let name = format!("tripod/{}/{part}", node.name());
            let text = files.get(&name).with_context(|| format!("no {name} in {:?}", files.keys()))?;
            let told: Value = serde_json::from_str(text)?;
            anyhow::ensure!(told["error"].is_null(), "{name}: {text}");
        }
        let token = agent_token(node)?;
        let has_it = bytes.windows(token.len()).any(|window| window == token.as_bytes());
        anyhow::ensure!(!has_it, "the token of {}'s agent is in the archive", node.name());
    }
    Ok(())
}

fn files(archive: &[u8]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut archive = tar::Archive::new(archive);
    let file = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry?;
        let (name, mut text) = (entry.path()?.display().to_string(), String::new());
        entry.read_to_string(&mut text)?;
        Ok((name, text))
    };
    archive.entries()?.map(file).collect()
}

/// The signature of the token, which is never more than this.
fn agent_token(node: &Node) -> anyhow::Result<String> {
    let agent = agents::process(node)?;
    let path = Path::new("/proc").join(agent).join("root/var/run/secrets/kubernetes.io/serviceaccount/token");
    let token = node.exec(&["cat", &path.to_string_lossy()])?;
    let signature = token.trim().rsplit('.').next().filter(|it| it.len() > 40);
    Ok(signature.with_context(|| format!("no token in {}", path.display()))?.to_owned())
}

fn silent(kubectl: &Kubectl<'_>, stopped: &Node, other: &Node) -> anyhow::Result<()> {
    agents::signal(stopped, "STOP")?;
    let told = kubectl.shell("kubectl tripod status");
    agents::signal(stopped, "CONT")?;
    let told = told.err().context("a node that does not answer is no failure")?.to_string();
    let line = format!("node {} does not answer", stopped.name());
    anyhow::ensure!(told.contains(&line), "{told}");
    let ready = told.lines().any(|line| line.contains(other.name()) && line.contains("ready"));
    anyhow::ensure!(ready, "{told}");
    install::rolled_out(kubectl)
}
