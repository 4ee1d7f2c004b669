//! `tripod-node agent` and its API server: addresses, outages, refusals, and a configuration that is wrong.

use serde_json::{Value, json};
use tripod_tests::apiserver::{Authority, write_service_account};
use tripod_tests::eventually;

use super::agent::{API, DUAL, Lab, node};

#[test]
fn addresses_are_tried_in_order_and_the_in_cluster_one_last() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    // Nobody listens at the first; the second is where the server is.
    lab.configure_exactly(&format!(
        "version: v1\napiServers: [\"https://127.0.0.1:1\", \"https://{API}\"]\n"
    ));
    let _api = lab.api_server();
    let agent = lab.agent();
    lab.wait_until_ready();
    let log = agent.log();
    let refused = log.find("https://127.0.0.1:1\"").expect("the first address is told to be of no use");
    assert!(refused < log.find(&format!("https://{API}")).expect("the second is followed"), "{log}");
    assert!(log.contains("Connection refused"), "{log}");
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let _api = lab.api_server();
    write_service_account(&lab.path("account"), &Authority::default());
    let agent = lab.agent();
    agent.wait_for_log("lost this API server");
    assert!(agent.log().contains("certificate"), "{}", agent.log());
    assert!(lab.probe("/readyz").contains("waiting for an API server"));
    assert!(!agent.log().contains("a-token-of"), "a token in the log");
}

#[test]
fn an_outage_ends_and_what_happened_meanwhile_is_seen() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let api = lab.api_server();
    let agent = lab.agent();
    lab.wait_until_ready();
    drop(api);
    agent.wait_for_log("lost this API server");
    assert!(lab.probe("/readyz").contains(" 200 OK"), "an outage is no failure of the node's network");
    lab.cluster.set_node(Some(node(&["10.244.7.0/24"])));
    let _api = lab.api_server();
    eventually("the new pod CIDR", || lab.conflist().contains("10.244.7.0/24"));
    // A watch that starts from a version which is history gets 410, and begins anew.
    lab.cluster.compact();
    lab.cluster.set_node(Some(node(&["10.244.8.0/24"])));
    eventually("the next pod CIDR", || lab.conflist().contains("10.244.8.0/24"));
}

#[test]
fn an_api_server_that_comes_back_at_once_is_not_asked_for_all_nodes_again() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let api = lab.api_server();
    let agent = lab.agent();
    lab.wait_until_ready();
    eventually("the nodes were listed", || lab.cluster.lists_of_tripod_nodes() == 1);
    drop(api);
    agent.wait_for_log("cannot follow the Node object; trying again");
    lab.cluster.set_node(Some(node(&["10.244.7.0/24"])));
    let _api = lab.api_server();
    eventually("the new pod CIDR", || lab.conflist().contains("10.244.7.0/24"));
    agent.wait_for_log("following the Node object again");
    assert_eq!(lab.cluster.lists_of_tripod_nodes(), 1);
    assert!(!agent.log().contains("lost this API server"), "{}", agent.log());
}

#[test]
fn a_node_object_that_is_made_anew_does_not_take_the_network_away() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let _api = lab.api_server();
    let agent = lab.agent();
    eventually("the condition is patched", || lab.cluster.patches().len() == 1);
    let before = lab.conflist();
    lab.cluster.set_node(None);
    agent.wait_for_log("there is no such Node");
    lab.cluster.set_node(Some(node(&[])));
    // The condition of the new object is patched too, which shows that the agent has seen it.
    eventually("the new object's condition", || lab.cluster.patches().len() == 2);
    assert_eq!(lab.conflist(), before);
    assert!(lab.probe("/readyz").contains(" 200 OK"));
}

#[test]
fn a_condition_that_may_not_be_patched_does_not_keep_the_network_away() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    lab.cluster.refuse_patches(true);
    let _api = lab.api_server();
    let agent = lab.agent();
    agent.wait_for_log("cannot set condition NetworkUnavailable=False");
    assert!(agent.log().contains("nodes/status is forbidden"), "{}", agent.log());
    lab.wait_until_ready();
}

#[test]
fn a_condition_that_is_taken_back_is_set_again() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let _api = lab.api_server();
    let _agent = lab.agent();
    eventually("the condition is patched", || lab.cluster.patches().len() == 1);
    lab.cluster.set_node(Some(node(&DUAL)));
    eventually("the condition is patched again", || lab.cluster.patches().len() == 2);
}

#[test]
fn pod_cidrs_that_make_no_sense_are_told_and_change_nothing() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let _api = lab.api_server();
    let agent = lab.agent();
    lab.wait_until_ready();
    let before = lab.conflist();
    lab.cluster.set_node(Some(node(&["10.244.1.0/24", "ten"])));
    agent.wait_for_log("spec.podCIDRs of node n1: \\\"ten\\\" is no CIDR");
    assert_eq!(lab.conflist(), before);
}

#[test]
fn pod_cidrs_without_room_for_pods_are_waited_out_and_host_bits_are_dropped() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&["10.244.1.0/31"])));
    let _api = lab.api_server();
    let agent = lab.agent();
    let complaint =
        "waiting for a usable Node object: spec.podCIDRs of node n1: \"10.244.1.0/31\" is too small";
    eventually("the probe tells", || lab.probe("/readyz").contains(complaint));
    assert_eq!(lab.conflist(), "");
    lab.cluster.set_node(Some(node(&["10.244.1.5/24"])));
    lab.wait_until_ready();
    assert!(lab.conflist().contains("\"10.244.1.0/24\""), "{}", lab.conflist());
    assert_eq!(agent.log().matches("keeping the last known facts").count(), 1, "a complaint is made once");
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_by_file_line_and_key() {
    let Some(lab) = Lab::new() else { return };
    lab.configure_exactly("version: v1\nclusterCIDR: [10.0.0.0/8]\n");
    let mut agent = lab.agent();
    assert_eq!(agent.wait().code(), Some(1));
    let last: Value = serde_json::from_str(agent.log().lines().last().expect("a line")).expect("JSON");
    let error = last["error"].as_str().expect("an error");
    assert!(error.contains("config/node.yaml:2:1: unknown key \"clusterCIDR\""), "{error}");
    assert_eq!(lab.node.sh("ls /run"), "");
}

#[test]
fn a_configuration_that_breaks_while_running_leaves_the_last_good_one() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(node(&DUAL)));
    let _api = lab.api_server();
    let agent = lab.agent();
    lab.wait_until_ready();
    let table = lab.table();
    lab.configure_exactly("version: v1\nbackend: ipip\n");
    agent.wait_for_log("keeping the last good configuration");
    assert!(agent.log().contains("node.yaml:2:10: backend"), "{}", agent.log());
    assert_eq!(lab.table(), table);
    assert!(lab.probe("/readyz").contains(" 200 OK"));
    // Each conflist that comes back is a look at the configuration too.
    for _ in 0..3 {
        std::fs::remove_file(lab.conflist_path()).expect("a conflist");
        eventually("the conflist is back", || !lab.conflist().is_empty());
    }
    let told = || agent.log().matches("keeping the last good configuration").count();
    assert_eq!(told(), 1, "a complaint is made once");
    lab.configure_exactly("version: v1\nmtu: 5\n");
    eventually("another complaint", || told() == 2);
}

#[test]
fn a_node_that_nobody_named_is_told() {
    let Some(lab) = Lab::new() else { return };
    let mut agent = lab.agent_with(&["--node-name", ""]);
    assert_eq!(agent.wait().code(), Some(1));
    assert!(agent.log().contains("set NODE_NAME from spec.nodeName or give --node-name"), "{}", agent.log());
}

#[test]
fn a_taken_probe_address_is_told() {
    let Some(lab) = Lab::new() else { return };
    let _taken = lab.node.run(|| std::net::TcpListener::bind("127.0.0.1:9674").expect("a free address"));
    let mut agent = lab.agent();
    assert_eq!(agent.wait().code(), Some(1));
    assert!(agent.log().contains("cannot listen on 127.0.0.1:9674"), "{}", agent.log());
}

#[test]
fn news_are_taken_up_without_waiting_for_the_next_look() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_node(Some(json!({"metadata": {"name": "n1"}, "spec": {}, "status": {}})));
    let _api = lab.api_server();
    let agent = lab.agent_with(&["--resync", "86400"]);
    agent.wait_for_log("waiting for spec.podCIDRs");
    lab.cluster.set_node(Some(node(&DUAL)));
    lab.wait_until_ready();
    std::fs::remove_file(lab.path("net.d/10-tripod.conflist")).expect("a conflist");
    eventually("the conflist is back", || !lab.conflist().is_empty());
    lab.configure("version: v1\nmtu: 1300\n");
    eventually("the new MTU", || lab.conflist().contains("1300"));
}
