//! `tripod-node doctor`, on a node with its agent.

use std::process::Command;

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::restore::Site;

/// What it finds on the site's node: by its exit code whether pods can start, and each finding.
fn doctor(site: &Site) -> (bool, Vec<Value>) {
    let conflist = site.lab.conflist_path();
    let plugins = program("tripod-cni").parent().expect("a folder").to_owned();
    let host = site.lab.path("host");
    let output = site.lab.node.run(move || {
        let mut doctor = Command::new(program("tripod-node"));
        doctor.args(["doctor", "--json", "--conflist"]).arg(conflist);
        doctor.arg("--host-root").arg(host);
        doctor.arg("--cni-bin-dir").arg(plugins).output().expect("the program")
    });
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), findings)
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn a_healthy_node_has_nothing_but_what_is_in_order() {
    let Some(site) = Site::new() else { return };
    let _pod = site.routed("web", json!([]));
    let (good, findings) = doctor(&site);
    assert!(good && findings.iter().all(|finding| finding["severity"] == "ok"), "{findings:#?}");
    assert_eq!(of(&findings, "attachment")[0]["evidence"], "1 of them, each with its link");
}

#[test]
fn what_takes_the_network_from_pods_is_named_with_a_fix() {
    let Some(site) = Site::new() else { return };
    let _pod = site.routed("web", json!([]));
    site.lab.node.sh(
        "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }'; \
         ip link del $(ip -br link | grep -o '^tp[0-9a-f]*')",
    );
    let (good, findings) = doctor(&site);
    assert!(good, "neither keeps a pod from starting: {findings:#?}");
    let [forward] = of(&findings, "forward")[..] else { panic!("{findings:#?}") };
    assert_eq!(forward["severity"], "warn");
    assert!(forward["object"].as_str().unwrap().contains("table ip filter"), "{forward}");
    let [attachment] = of(&findings, "attachment")[..] else { panic!("{findings:#?}") };
    assert!(attachment["object"].as_str().unwrap().contains("container web"), "{attachment}");
    assert!(attachment["fix"].as_str().unwrap().starts_with("delete the pod"), "{attachment}");
}

#[test]
fn a_peer_that_is_ignored_and_a_program_that_removes_routes_are_named_with_a_fix() {
    let Some(site) = Site::new() else { return };
    let spec = json!({"nodeUID": "9", "addresses": ["172.30.0.19"], "podCIDRs": ["192.168.9.0/24"],
        "vtepMAC": "02:00:00:00:00:09", "protocol": 1});
    let (version, name) = ("tripod.dev/v1alpha1", json!({"name": "n9"}));
    let object = json!({"apiVersion": version, "kind": "TripodNode", "metadata": name, "spec": spec});
    site.lab.cluster.set_tripod_node(object);
    std::fs::create_dir_all(site.lab.path("host/run/systemd/netif")).expect("a folder");
    let peers = |findings: &[Value]| of(findings, "peers").iter().map(|it| (*it).clone()).collect::<Vec<_>>();
    eventually("the agent ignores it", || peers(&doctor(&site).1)[0]["object"] == "n9");
    let (good, findings) = doctor(&site);
    assert!(good, "{findings:#?}");
    assert!(peers(&findings)[0]["fix"].as_str().unwrap().contains("clusterCIDRs"), "{findings:#?}");
    let [program] = of(&findings, "network-program")[..] else { panic!("{findings:#?}") };
    assert!(program["fix"].as_str().unwrap().contains("ManageForeignRoutes=no"), "{program}");
}

#[test]
fn a_node_without_its_conflist_cannot_start_pods() {
    let output = Command::new(program("tripod-node"))
        .args(["doctor", "--conflist", "/nowhere/10-tripod.conflist", "--state-dir", "/nowhere"])
        .output()
        .expect("the program");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("FAIL  conflist") && told.contains("fix: look for what the agent waits for"),
        "{told}"
    );
}
