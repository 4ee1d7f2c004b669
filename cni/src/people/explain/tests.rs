use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::finding::Severity;

fn explained(list: &Value) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("10-pods.conflist");
    fs::write(&file, list.to_string()).unwrap();
    let dirs = Dirs { attachments: folder.path().join("attachments"), leases: folder.path().join("ipam") };
    fs::write(folder.path().join("portmap"), "").unwrap();
    explain(&file, &dirs, &[folder.path().to_owned()])
}

fn list(entry: Value) -> Value {
    json!({"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "pods", "plugins": [entry]})
}

fn pods() -> Value {
    json!({"type": "tripod-cni", "ipam": {"ranges": [[{"subnet": "10.1.0.0/29"}]]}})
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).unwrap()
}

#[test]
fn a_good_list_is_told_step_by_step() {
    let findings = explained(&list(pods()));
    assert_eq!(of(&findings, "conflist").evidence, "CNI 1.1.0, plugins in this order: tripod-cni");
    assert!(of(&findings, "link").evidence.contains("169.254.1.1"), "{findings:?}");
    assert_eq!(of(&findings, "addresses").evidence, "0 of 5 given");
    assert!(findings.iter().all(|finding| finding.severity < Severity::Fail), "{findings:?}");
}

#[test]
fn each_thing_that_fails_every_add_is_named_with_a_fix() {
    let mut small = pods();
    small["ipam"]["ranges"][0][0]["subnet"] = json!("10.1.0.0/33");
    for (list, check, named) in [
        (list(small), "config", "10.1.0.0/33"),
        (list(json!({"type": "bandwith"})), "program", "bandwith"),
        (json!({"cniVersion": "9.0.0", "name": "pods", "plugins": [pods()]}), "conflist", "version"),
        (json!([]), "conflist", "JSON object"),
    ] {
        let findings = explained(&list);
        let finding = of(&findings, check);
        assert_eq!(finding.severity, Severity::Fail, "{finding:?}");
        assert!(finding.evidence.contains(named) && !finding.fix.is_empty(), "{finding:?}");
    }
}

#[test]
fn every_problem_is_told_not_only_the_first() {
    let mut wrong = pods();
    wrong["mtu"] = json!(7);
    wrong["nodeIPs"] = json!(["node1"]);
    wrong["ipam"]["routes"] = json!([{"dst": "nowhere"}]);
    let findings = explained(&list(wrong));
    for named in ["mtu=7", "node1", "nowhere"] {
        let told = findings.iter().filter(|one| one.check == "config" && one.evidence.contains(named));
        assert_eq!(told.count(), 1, "{named}: {findings:?}");
    }
}

#[test]
fn what_only_this_node_or_this_version_lacks_is_found_too() {
    let mut delegated = pods();
    delegated["ipam"]["type"] = json!("whereabouts");
    let chained = json!({"type": "tripod-cni", "mode": "chained", "agentState": "/nowhere/state"});
    let mut two = list(pods());
    two["cniVersion"] = json!("0.2.0");
    two["cniVersions"] = Value::Null;
    two["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]);
    for (list, check, named) in [
        (list(delegated), "program", "whereabouts"),
        (list(chained), "agent", "/nowhere/state"),
        (two, "config", "0.2.0"),
    ] {
        let findings = explained(&list);
        let finding = of(&findings, check);
        assert_eq!(finding.severity, Severity::Fail, "{findings:?}");
        assert!(finding.evidence.contains(named) && !finding.fix.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_chain_and_a_single_configuration_are_read_too() {
    let mut chain = list(pods());
    chain["plugins"].as_array_mut().unwrap().push(json!({"type": "portmap"}));
    assert!(of(&explained(&chain), "program").evidence.ends_with("portmap is there"));
    let mut single = pods();
    single["cniVersion"] = json!("0.4.0");
    single["name"] = json!("pods");
    assert!(of(&explained(&single), "conflist").evidence.starts_with("CNI 0.4.0"));
    assert_eq!(of(&explained(&list(json!({"type": "portmap"}))), "conflist").severity, Severity::Ok);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dirs = Dirs { attachments: "/nowhere/a".into(), leases: "/nowhere/i".into() };
    let findings = explain(Path::new("/nowhere/10-pods.conflist"), &dirs, &[]);
    assert!(findings[0].object.contains("/nowhere/10-pods.conflist") && !findings[0].fix.is_empty());
}

#[test]
fn what_mode_chained_adds_is_told() {
    let mut list = list(json!({"type": "ptp"}));
    let ours = json!({
        "type": "tripod-cni", "mode": "chained", "ingressRate": 8_000_000, "ingressBurst": 800_000,
        "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
    });
    list["plugins"].as_array_mut().unwrap().push(ours);
    let findings = explained(&list);
    assert_eq!(of(&findings, "bandwidth").evidence, "towards the pod 8000000 bit/s");
    assert!(of(&findings, "sysctl").evidence.contains("port_start=0"), "{findings:?}");
}
