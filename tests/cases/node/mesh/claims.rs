//! Whose claims are believed, and when.

use std::time::Duration;

use serde_json::{Value, json};
use tripod_node::mac::Mac;
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::site::{Cable, SERVICE, Site};

/// What node `number` on the switch says, if it says that it has these prefixes.
fn claim(name: &str, number: u8, cidrs: &[&str]) -> Value {
    let uid = format!("uid-{number}");
    json!({
        "metadata": {"name": name},
        "spec": {"nodeUID": uid, "addresses": [format!("192.0.2.{number}")], "podCIDRs": cidrs,
            "vtepMAC": Mac::of_node(&uid), "protocol": 1},
    })
}

#[test]
fn a_node_object_that_cannot_be_read_holds_nothing_else_back() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (a, _b) = (site.join(1, ""), site.join(2, ""));
    a.waits_for_routes("n1 has routes to n2", |routes| routes.contains("10.244.2.0/24 via 192.0.2.2"));
    site.cluster.fail_reads(true);
    site.cluster.set_tripod_node(claim("thief", 9, &["10.244.2.0/24"]));
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log("etcdserver: request timed out");
    site.cluster.set_tripod_node(claim("n7", 7, &["10.244.7.0/24"]));
    a.waits_for_routes("who is not disputed is linked", |routes| {
        routes.contains("10.244.7.0/24 via 192.0.2.7")
    });
    let routes = a.routes();
    assert!(routes.contains("10.244.2.0/24 via 192.0.2.2") && !routes.contains("192.0.2.9"), "{routes}");
    agent.wait_for_log("in dispute with node n2; waiting for Node object thief");
    site.cluster.fail_reads(false);
    agent.wait_for_log("10.244.2.0/24 overlaps the claim of node n2, and its Node object does not have it");
    assert!(a.routes().contains("10.244.2.0/24 via 192.0.2.2"));
}

#[test]
fn without_cluster_cidrs_node_objects_decide_about_each_claim() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (a, _b) = (site.join_alone(1), site.join(2, ""));
    a.waits_for_routes("n1 has routes to n2", |routes| routes.contains("10.244.2.0/24 via 192.0.2.2"));
    site.cluster.set_tripod_node(claim("n7", 7, &["8.8.8.0/24"]));
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log(
        "n7: its Node object does not have what it claims, and clusterCIDRs of node.yaml is empty",
    );
    assert!(!a.routes().contains("8.8.8.0/24"));
}

#[test]
fn a_node_that_knows_nobody_waits_a_while_for_node_objects_and_says_so() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    site.cluster.fail_reads(true);
    site.cluster.set_tripod_node(claim("n7", 7, &["10.244.7.0/24"]));
    site.cluster.set_tripod_node(claim("n8", 8, &["10.244.8.0/24"]));
    let a = site.join_alone(1);
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log("Node objects that decide about them are still to be read: 2");
    let status = || a.node.sh(&format!("{} status --json || true", program("tripod-node").display()));
    let early = status();
    assert!(early.contains(r#""phase":"waiting-for-peers""#), "{early}");
    let waits = "waiting for its Node object, as clusterCIDRs of node.yaml is empty";
    assert!(!a.log().contains(waits), "{}", a.log());
    agent.wait_for_log(&format!("n7: {waits}"));
    eventually("the status has the reason", || status().matches(waits).count() == 2);
    eventually("it goes on without them", || status().contains(r#""ready":true"#));
}

#[test]
fn no_node_takes_the_address_of_another() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let a = site.join(1, "");
    let mut honest = claim("n7", 7, &["10.244.7.0/24"]);
    honest["spec"]["addresses"] = json!(["10.244.9.7"]);
    site.cluster.set_node(Some(json!({
        "metadata": {"name": "n7", "uid": "uid-7"},
        "spec": {"podCIDRs": ["10.244.7.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.244.9.7"}]},
    })));
    site.cluster.set_tripod_node(honest);
    site.cluster.set_tripod_node(claim("n9", 9, &["10.244.9.0/24"]));
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log("n9: 10.244.9.0/24 holds 10.244.9.7, the address of a node");
    assert!(!a.routes().contains("10.244.9.0/24"));
}

#[test]
fn no_node_takes_an_address_of_any_service() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let mut a = site.join(1, "");
    let agent = a.agent.as_ref().unwrap();
    // The cluster does not know ServiceCIDRs.
    site.cluster.set_tripod_node(claim("n7", 7, &["10.244.96.0/24"]));
    agent.wait_for_log(&format!("n7: 10.244.96.0/24 overlaps {SERVICE}/32, which Services have"));
    drop(a.agent.take());
    for (name, cidr) in [("kubernetes", "10.244.97.0/25"), ("second", "10.244.98.0/25")] {
        site.cluster.set_service_cidr(json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}}));
    }
    site.start(&mut a);
    site.cluster.set_tripod_node(claim("n8", 8, &["10.244.97.0/24"]));
    site.cluster.set_tripod_node(claim("n9", 9, &["10.244.98.0/24"]));
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log("n8: 10.244.97.0/24 overlaps 10.244.97.0/25, which Services have");
    agent.wait_for_log("n9: 10.244.98.0/24 overlaps 10.244.98.0/25, which Services have");
    assert_eq!(a.routes(), "");
}

#[test]
fn the_object_of_a_node_that_is_gone_stays_away() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let a = site.join(1, "");
    let written = || site.cluster.tripod_node("n1").is_some();
    eventually("the node is told of", written);
    let node = site.cluster.node("n1").unwrap();
    site.cluster.set_node(None);
    a.agent.as_ref().unwrap().wait_for_log("there is no such Node");
    // As the API server's garbage collector does.
    site.cluster.delete_tripod_node("n1");
    std::thread::sleep(Duration::from_secs(3));
    assert!(!written(), "a Node that is gone has an object");
    let mut renewed = node;
    renewed["metadata"]["uid"] = json!("uid-anew");
    site.cluster.set_node(Some(renewed));
    eventually("the new Node is told of", || {
        site.cluster.tripod_node("n1").is_some_and(|object| object["spec"]["nodeUID"] == "uid-anew")
    });
}
