//! What the agent says of the node, and what of the node the agent needs, as findings. Pure but for the files
//! it is given.

use std::fs;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde_json::Value;
use tripod_cni::finding::Finding;

use crate::kernel::Link;
use crate::node_facts::list;
use crate::plan::CREDENTIAL_CONFIG;
use crate::prefix;
use crate::status::say;
use crate::wireguard_key::FILE;

const LOGS: &str = "kubectl -n tripod-system logs ds/tripod -c net";

/// What the agent's own status says.
pub(super) fn of_agent(status: &Value) -> Vec<Finding> {
    let phase = say(status, "phase");
    let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    let agent = if ready {
        Finding::ok("agent", say(status, "node"), format!("ready since {}", say(status, "since")))
    } else {
        Finding::warn("agent", say(status, "node"), format!("{phase}: {}", say(status, "detail"))).fix(LOGS)
    };
    let peers = status.get("peers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut findings: Vec<Finding> = peers.iter().filter_map(peer).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("peers", "all", format!("{} of them, each linked", peers.len())));
    }
    findings.insert(0, agent);
    findings.extend(failures(status));
    findings.extend(not_installed(status));
    findings.push(cluster_cidrs(status));
    findings
}

/// What the kernel refused of the links with other nodes, each by itself.
fn failures(status: &Value) -> impl Iterator<Item = Finding> {
    let failures = status.get("failures").and_then(Value::as_array).into_iter().flatten();
    let fix = "take away what is in its way, such as a route to the same prefix that is not Tripod's; the agent goes on \
        trying";
    failures.filter_map(Value::as_str).map(move |text| Finding::warn("peers", "links", text).fix(fix))
}

/// What of the host's files is not as the image and the ConfigMap say.
fn not_installed(status: &Value) -> impl Iterator<Item = Finding> {
    let files = status.get("installed").and_then(Value::as_array).into_iter().flatten();
    files.filter(|file| say(file, "state") != "current").map(|file| {
        let name = say(file, "path");
        let fix = match say(file, "state").as_str() {
            "refused" if name.ends_with(CREDENTIAL_CONFIG) => {
                "correct that line in the ConfigMap tripod-config; until then pulls go by the last good one, and \
                 without credentials where there is none yet"
            }
            _ => "do what it says; container files tries again on its own",
        };
        Finding::warn("install", name, say(file, "why")).fix(fix)
    })
}

/// Whether the admin has said which prefixes are the cluster's, and this node's are among them.
fn cluster_cidrs(status: &Value) -> Finding {
    const CHECK: &str = "cluster-cidrs";
    let prefixes = |key: &str| -> Vec<IpNetwork> {
        let values = status.get(key).and_then(Value::as_array).into_iter().flatten();
        values.filter_map(|value| value.as_str()?.parse().ok()).collect()
    };
    let (all, ours) = (prefixes("clusterCIDRs"), prefixes("podCIDRs"));
    if all.is_empty() {
        let text =
            "is empty: each node is believed as far as its Node object agrees, and all of those are read";
        let fix = "set it in node.yaml, as --cluster-cidr of kube-controller-manager has it";
        return Finding::ok(CHECK, "clusterCIDRs", text).fix(fix);
    }
    let is_listed = |one: &&IpNetwork| all.iter().any(|prefix| prefix::contains(prefix, one));
    let unlisted: Vec<_> = ours.iter().filter(|one| !is_listed(one)).collect();
    if unlisted.is_empty() {
        return Finding::ok(CHECK, "clusterCIDRs", list(&all));
    }
    let text = format!(
        "{} lacks {} of this node: packets between its pods and those of others carry nodes' addresses, and no other \
         node with the same setting believes this one",
        list(&all),
        list(unlisted)
    );
    Finding::warn(CHECK, "clusterCIDRs", text).fix("add the prefix in node.yaml, on all nodes")
}

/// What every reason that is about a peer's key names. The status has reasons in words only.
const KEY: &str = "wireguardKey";

/// Nothing about a peer that is linked.
fn peer(peer: &Value) -> Option<Finding> {
    let (name, why) = (say(peer, "name"), say(peer, "why"));
    let is_key = why.contains(KEY);
    let fix = match say(peer, "state").as_str() {
        "ignored" if is_key => format!(
            "let each node have a key of its own: on the node that has another's, remove {FILE} of the agent's state \
             folder and restart the agent there, which makes a new one"
        ),
        "ignored" if why.contains("CIDR") || why.contains('/') => {
            "let each node have prefixes of its own within clusterCIDRs of node.yaml: compare spec.podCIDRs of the \
             Nodes with kubectl get tripodnodes -o yaml"
                .to_owned()
        }
        "ignored" => format!("compare kubectl get tripodnode {name} -o yaml with the Node of that name"),
        "unlinked" if is_key => format!(
            "set backend: wireguard in node.yaml of {name} too, and see why its agent has told no key: {LOGS}, of the \
             pod on that node"
        ),
        "unlinked" => {
            "give both nodes an InternalIP of the same family and the same backend in node.yaml, or set backend: auto"
                .to_owned()
        }
        _ => return None,
    };
    let text = format!("{}: {why}", say(peer, "state"));
    Some(Finding::warn("peers", name, text).fix(fix))
}

/// Whether each overlay device has the MTU that fits its uplink.
pub(super) fn overlays(status: &Value, links: &[Link]) -> Vec<Finding> {
    let overlays = status.get("overlays").and_then(Value::as_array).into_iter().flatten();
    overlays.map(|overlay| one_overlay(overlay, links)).collect()
}

fn one_overlay(overlay: &Value, links: &[Link]) -> Finding {
    const CHECK: &str = "overlay";
    let (name, wanted) = (say(overlay, "name"), overlay.get("mtu").and_then(Value::as_u64));
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Finding::warn(CHECK, name, "the device is not there").fix(LOGS);
    };
    match wanted {
        Some(wanted) if wanted != u64::from(link.mtu) => {
            let text = format!("its MTU is {}, and {wanted} fits its uplink", link.mtu);
            Finding::warn(CHECK, name, text).fix(LOGS)
        }
        _ => Finding::ok(CHECK, name, format!("MTU {}", link.mtu)),
    }
}

/// Whether the node forwards what its pods send.
pub(super) fn forwarding(status: &Value, sysctl: &Path) -> Vec<Finding> {
    let cidrs = say(status, "podCIDRs");
    let families = [('.', "ipv4/ip_forward"), (':', "ipv6/conf/all/forwarding")];
    let wanted = families.into_iter().filter(|(mark, _)| cidrs.contains(*mark));
    wanted.map(|(_, key)| parameter(sysctl, key)).collect()
}

fn parameter(sysctl: &Path, key: &str) -> Finding {
    const CHECK: &str = "sysctl";
    match fs::read_to_string(sysctl.join(key)).as_deref().map(str::trim) {
        Ok("1") => Finding::ok(CHECK, key, "1"),
        Ok(value) => {
            let fix =
                "find who sets it back, often a file in /etc/sysctl.d: the agent sets it to 1 with each look";
            Finding::warn(CHECK, key, format!("{value:?}, so that nothing is forwarded")).fix(fix)
        }
        Err(error) => Finding::warn(CHECK, key, error.to_string()).fix("run in the net container"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tripod_cni::finding::Severity;

    use super::*;

    #[test]
    fn a_link_that_failed_is_told_although_its_peer_is_planned() {
        let status = json!({"phase": "ready", "ready": true, "node": "n1", "failures": ["cannot add route r"],
            "peers": [{"name": "n2", "state": "linked"}]});
        let findings = of_agent(&status);
        let told = findings.iter().find(|it| it.object == "links").unwrap();
        assert_eq!((told.severity, told.evidence.as_str()), (Severity::Warn, "cannot add route r"));
        assert!(told.fix.contains("not Tripod's"));
    }

    #[test]
    fn files_that_are_not_installed_are_told_with_what_to_do_about_each() {
        let file = |path, state| json!({"path": path, "state": state, "why": "because"});
        let status = json!({"installed": [file("/opt/cni/bin/tripod-ipam", "current"),
            file("/opt/cni/bin/tripod-cni", "failed"), file("/opt/cni/bin/tripod-cni", "refused"),
            file("/etc/tripod/credential-provider.yaml", "refused")]});
        let told: Vec<_> = not_installed(&status).map(|it| (it.severity, it.fix)).collect();
        assert!(told.iter().all(|(severity, _)| *severity == Severity::Warn), "{told:?}");
        let fixes: Vec<_> = told.iter().map(|(_, fix)| fix.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(fixes, ["do", "do", "correct"]);
    }

    #[test]
    fn peers_that_are_not_linked_are_named_with_what_to_do() {
        let why = "10.0.0.0/8 is in none of clusterCIDRs because";
        let peer = |name, state| json!({"name": name, "state": state, "why": why});
        let status = json!({"phase": "ready", "ready": true, "node": "n1",
            "peers": [peer("n2", "linked"), peer("n3", "ignored"), peer("n4", "unlinked")]});
        let findings = of_agent(&status);
        let told: Vec<_> = findings.iter().map(|it| (it.object.as_str(), it.severity)).take(3).collect();
        assert_eq!(told, [("n1", Severity::Ok), ("n3", Severity::Warn), ("n4", Severity::Warn)]);
        assert!(findings[1].evidence.contains("because") && findings[1].fix.contains("clusterCIDRs"));
        let waits = of_agent(&json!({"phase": "waiting-for-peers", "ready": false, "node": "n1"}));
        assert_eq!((waits[0].severity, waits[1].severity), (Severity::Warn, Severity::Ok));
    }

    #[test]
    fn the_fix_for_a_peer_follows_the_reason_that_it_is_not_linked_for() {
        use crate::claims::Refusal;
        use crate::mesh::Unlinked;
        use crate::tripod_node::ClaimError;

        let fix = |state, why: String| peer(&json!({"name": "n2", "state": state, "why": why})).unwrap().fix;
        let prefix = "10.244.2.0/24".parse().unwrap();
        let no_key = fix("unlinked", Unlinked::NoKey { prefix }.to_string());
        assert!(no_key.contains("backend: wireguard") && !no_key.contains("auto"), "{no_key}");
        assert!(fix("unlinked", Unlinked::NoAddress { prefix }.to_string()).contains("backend: auto"));
        for refusal in [Refusal::OurKey, Refusal::Key { other: "n3".to_owned() }] {
            let told = fix("ignored", refusal.to_string());
            assert!(told.contains("wireguard.key") && !told.contains("clusterCIDRs"), "{told}");
        }
        for refusal in [Refusal::Outside(prefix), Refusal::Unconfirmed] {
            assert!(fix("ignored", refusal.to_string()).contains("clusterCIDRs"), "{refusal}");
        }
        let protocol = fix("ignored", Refusal::Nonsense(ClaimError::Protocol(7)).to_string());
        assert!(!protocol.contains("clusterCIDRs"), "{protocol}");
    }

    #[test]
    fn prefixes_of_the_cluster_are_to_be_named_and_to_hold_this_nodes() {
        let told = |all: &[&str]| {
            let found =
                cluster_cidrs(&json!({"clusterCIDRs": all, "podCIDRs": ["10.244.1.0/24", "fd00::/64"]}));
            (found.severity, found.fix.is_empty())
        };
        assert_eq!(told(&[]), (Severity::Ok, false));
        assert_eq!(told(&["10.244.0.0/16"]), (Severity::Warn, false));
        assert_eq!(told(&["10.244.0.0/16", "fd00::/48"]), (Severity::Ok, true));
    }

    #[test]
    fn what_keeps_packets_from_being_forwarded_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("ipv4")).unwrap();
        fs::write(folder.path().join("ipv4/ip_forward"), "0\n").unwrap();
        let look = || forwarding(&json!({"podCIDRs": ["10.244.1.0/24"]}), folder.path());
        assert_eq!(look()[0].severity, Severity::Warn);
        fs::write(folder.path().join("ipv4/ip_forward"), "1\n").unwrap();
        assert_eq!((look()[0].severity, look().len()), (Severity::Ok, 1));
    }
}
