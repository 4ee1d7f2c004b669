//! Keys that change, are missing, or are somebody else's.

use std::fs;

use serde_json::{Value, json};
use tripod_node::mac::Mac;
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::super::mesh::seen;
use super::super::mesh::site::{Cable, Node};
use super::{Pair, private_key, public_key, routes};

/// What a node says of itself that has this key.
pub(super) fn claim(key: Value) -> Value {
    json!({
        "metadata": {"name": "n7"},
        "spec": {"nodeUID": "uid-7", "addresses": ["192.0.2.7"], "podCIDRs": ["10.244.7.0/24"],
            "vtepMAC": Mac::of_node("uid-7"), "protocol": 1, "wireguardKey": key},
    })
}

/// What the agent says of a peer.
fn status_of(node: &Node, peer: &str) -> Value {
    let status = node.node.sh(&format!("{} status --json || true", program("tripod-node").display()));
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let peers = status["peers"].as_array().cloned().unwrap_or_default();
    peers.into_iter().find(|one| one["name"] == peer).unwrap_or_default()
}

#[test]
fn a_node_that_comes_back_with_another_key_is_followed() {
    let Some(mut pair) = Pair::new(Cable::Router) else { return };
    pair.all_reach_all();
    let before = public_key(&pair.b);
    // As a boot does: what is on the tmpfs goes, and so does the device.
    drop(pair.b.agent.take());
    pair.b.node.sh("rm /run/tripod/wireguard.key; ip link del tripod-wg");
    pair.site.start(&mut pair.b);
    pair.wait();
    let after = public_key(&pair.b);
    assert_ne!(before, after);
    let peers = || pair.a.node.sh("wg show tripod-wg peers");
    eventually("the new key has the old one's place", || peers() == format!("{after}\n"));
    let [[from, _], [target, _]] = &pair.pods;
    eventually("pods talk", || seen(&pair.a.pod, &pair.b.pod, target) == *from);
    pair.all_reach_all();
}

#[test]
fn without_the_api_a_restart_and_a_lost_device_change_no_key() {
    let Some(mut pair) = Pair::new(Cable::Router) else { return };
    let (key, secret) = (public_key(&pair.a), private_key(&pair.a));
    drop(pair.a.api.take());
    pair.a.agent.as_ref().unwrap().wait_for_log("lost this API server");
    drop(pair.a.agent.take());
    pair.all_reach_all();
    pair.a.node.sh("ip route flush proto 84; ip link del tripod-wg");
    pair.site.start(&mut pair.a);
    pair.wait();
    assert_eq!((public_key(&pair.a), private_key(&pair.a)), (key, secret));
    let [[from, _], [target, _]] = &pair.pods;
    eventually("pods talk", || seen(&pair.a.pod, &pair.b.pod, target) == *from);
    pair.all_reach_all();
}

#[test]
fn who_has_no_key_or_anothers_is_not_linked_and_harms_nobody() {
    let Some(pair) = Pair::new(Cable::Switch) else { return };
    let (a, cluster) = (&pair.a, &pair.site.cluster);
    let whole = routes(a);
    for (key, state, why) in [
        (Value::Null, "unlinked", "the peer tells no valid key of WireGuard"),
        (json!("nonsense"), "unlinked", "the peer tells no valid key of WireGuard"),
        (json!(public_key(&pair.b)), "ignored", "it claims the key of WireGuard that node n2 claims"),
        (json!(public_key(a)), "ignored", "it claims this node's key of WireGuard"),
    ] {
        cluster.set_tripod_node(claim(key.clone()));
        let told = || status_of(a, "n7");
        eventually(&format!("n7 with key {key} is {state}"), || {
            told()["state"] == state && told()["why"].as_str().is_some_and(|text| text.contains(why))
        });
        assert_eq!(routes(a), whole);
        assert_eq!(status_of(a, "n2")["state"], "linked");
        pair.all_reach_all();
    }
    let honest = a.node.sh("wg genkey | wg pubkey").trim().to_owned();
    cluster.set_tripod_node(claim(json!(honest)));
    eventually("an honest key is linked", || routes(a).contains("10.244.7.0/24"));
    assert!(a.node.sh("wg show tripod-wg endpoints").contains(&format!("{honest}\t192.0.2.7:51820")));
    cluster.delete_tripod_node("n7");
    eventually("who leaves takes its peer along", || !a.node.sh("wg show tripod-wg peers").contains(&honest));
    assert_eq!(routes(a), whole);
}

#[test]
fn the_private_key_is_in_its_file_alone() {
    let Some(pair) = Pair::new(Cable::Switch) else { return };
    let a = &pair.a;
    let key = private_key(a);
    assert_eq!(a.node.sh("stat -c '%a %U' /run/tripod/wireguard.key"), "600 root\n");
    assert_eq!(key, a.node.sh("wg show tripod-wg private-key").trim());
    let told = pair.site.cluster.tripod_node("n1").unwrap();
    assert_eq!(told["spec"]["wireguardKey"], public_key(a));
    let tool = program("tripod-node");
    let collected = a.node.sh(&format!(
        "{tool} status --json; {tool} status; {tool} collect --config {} --conflist {}",
        a.folder.join("config/node.yaml").display(),
        a.folder.join("net.d/10-tripod.conflist").display(),
        tool = tool.display(),
    ));
    assert!(collected.contains("\"tripod-wg\""), "{collected}");
    let files = a.node.sh("cat /run/tripod/agent.json /run/tripod/ready");
    assert!(files.contains(&public_key(&pair.b)), "the others' public keys are remembered: {files}");
    let conflist = fs::read_to_string(a.folder.join("net.d/10-tripod.conflist")).unwrap();
    for text in [a.log(), collected, files, conflist, told.to_string()] {
        assert!(!text.contains(&key), "{text}");
    }
}
