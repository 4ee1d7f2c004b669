//! What a node has of Tripod, and of others in the same places.

use crate::cluster::node::Node;

const CONFLIST: &str = "/etc/cni/net.d/10-tripod.conflist";

/// What others keep where Tripod has things of its own.
const FILES: [&str; 5] = [
    "/etc/cni/net.d/note.txt",
    "/etc/tripod/registry-password",
    "/opt/cni/bin/bridge",
    "/opt/tripod/credential-provider/ecr",
    "/var/run/cdi/other.json",
];

/// A link, a table and, of other protocols, a route and a rule.
const MAKE: &str = "ip link add other0 type bridge && ip link set other0 up && \
    ip route add 198.51.100.0/24 dev other0 proto 85 && \
    ip rule add from 198.51.100.0/24 table 85 priority 30085 protocol 85 && \
    nft 'add table inet other; add chain inet other forward { type filter hook forward priority 0; }'";
const REMOVE: &str = "ip rule del priority 30085; ip link del other0; nft delete table inet other";
const SHOW: &str = "ip route show proto 85 && ip rule show priority 30085 && ip -br link show dev other0 && \
    nft list table inet other";

/// Everything that Tripod has, wherever it may be; what is listed is too much.
const OURS: &str = "ip route show table all proto 84; ip -6 route show table all proto 84; \
    ip rule | grep 'proto 84'; ip -6 rule | grep 'proto 84'; \
    ip -br link | grep -E '^(tp[0-9a-f]{13}|tripod)'; nft list tables | grep tripod; \
    find /run/tripod -mindepth 1; \
    find /etc /opt /run /var/run/cdi /var/lib/kubelet/device-plugins -xdev ! -type d \\( -name '*tripod*' \
        -o -path '*/tripod/*' -o -lname '*tripod*' -o -name loopback \\); true";

/// Some of it, wherever pods run.
const SOME: [&str; 9] = [
    " dev tp",
    "table inet tripod",
    "/etc/cni/net.d/10-tripod.conflist",
    "/etc/tripod/node.yaml",
    "/opt/cni/bin/loopback",
    "/opt/cni/bin/tripod-cni",
    "/opt/cni/bin/tripod-ipam",
    "/run/tripod/ready",
    "/var/run/cdi/tripod-",
];

/// What an agent has in the kernel where the nodes are not on one link.
const OVERLAY: &str = "ip link add tripod4 type vxlan id 84 dstport 4789 nolearning && ip link set tripod4 up && \
    ip route add 203.0.113.0/24 dev tripod4 proto 84 && \
    ip rule add from 203.0.113.0/24 table 84 priority 30084 protocol 84";

/// What the uninstaller cannot know: whether a kubelet will want it at its next start.
const PROVIDER: [&str; 2] =
    ["/opt/tripod/credential-provider/tripod-credential-provider", "/etc/tripod/credential-provider.yaml"];

pub(super) fn make_foreign(node: &Node) -> anyhow::Result<()> {
    for file in FILES {
        sh(node, &format!("mkdir -p $(dirname {file}) && echo others > {file}"))?;
    }
    sh(node, MAKE).map(drop)
}

/// Fails unless what is looked for afterwards is there before.
pub(super) fn ours_are_seen(node: &Node) -> anyhow::Result<()> {
    let seen = sh(node, OURS)?;
    let missing: Vec<_> = SOME.iter().filter(|some| !seen.contains(**some)).collect();
    anyhow::ensure!(missing.is_empty(), "{} has no {missing:?} in\n{seen}", node.name());
    Ok(())
}

/// Leaves what an agent that was linked by an overlay would leave.
pub(super) fn make_overlay(node: &Node) -> anyhow::Result<()> {
    sh(node, OVERLAY).map(drop)
}

pub(super) fn remove_foreign(node: &Node) -> anyhow::Result<()> {
    sh(node, &format!("rm {}; {REMOVE}", FILES.join(" "))).map(drop)
}

pub(super) fn remove_provider(node: &Node) -> anyhow::Result<()> {
    sh(node, &format!("rm {}", PROVIDER.join(" "))).map(drop)
}

/// Nothing failed, and only that stays which has a reason to.
pub(super) fn judge_report(report: &str, node: &str) -> anyhow::Result<()> {
    let lines: Vec<(&str, &str)> = report.lines().filter_map(outcome_and_object).collect();
    // It tells all of it again whenever something changes, and begins with the conflist.
    let last = lines.iter().rposition(|(_, object)| *object == CONFLIST).unwrap_or_default();
    let of = |outcome: &str| {
        lines[last..].iter().filter(|line| line.0 == outcome).map(|line| line.1).collect::<Vec<_>>()
    };
    let (done, mut kept) = (of("done"), of("kept"));
    kept.retain(|object| !object.starts_with("net/"));
    anyhow::ensure!(done.len() > 15 && of("failed").is_empty(), "{node}:\n{report}");
    anyhow::ensure!(kept == PROVIDER, "{node} keeps {kept:?}:\n{report}");
    println!("  {node}: {} objects done, kept {kept:?}", done.len());
    Ok(())
}

fn outcome_and_object(line: &str) -> Option<(&str, &str)> {
    let (outcome, rest) = line.split_once(' ')?;
    Some((outcome, rest.trim_start().split("  ").next()?))
}

pub(super) fn only_foreign_are_left(node: &Node) -> anyhow::Result<()> {
    let left = sh(node, OURS)?;
    let is_foreign = |line: &&str| FILES.contains(line);
    let ours: Vec<_> = left.lines().filter(|line| !is_foreign(line)).collect();
    anyhow::ensure!(ours.is_empty(), "{} has {ours:#?}", node.name());
    for file in FILES {
        anyhow::ensure!(sh(node, &format!("cat {file}"))? == "others\n", "{file} of {}", node.name());
    }
    let shown = sh(node, SHOW)?;
    anyhow::ensure!(shown.contains("198.51.100.0/24") && shown.contains("hook forward"), "{shown}");
    Ok(())
}

fn sh(node: &Node, script: &str) -> anyhow::Result<String> {
    node.exec(&["sh", "-c", script])
}
