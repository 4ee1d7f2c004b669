//! The startup taint: the agent takes it from its own Node once pods can have a network, and no other.

use serde_json::{Value, json};
use tripod_tests::eventually;

use super::agent::{DUAL, Lab, node};

const KEY: &str = "tripod.dev/agent-not-ready";
const FLAGS: [&str; 4] = ["--resync", "1", "--startup-taint", KEY];

fn tainted(pod_cidrs: &[&str], taints: &Value) -> Value {
    let mut node = node(pod_cidrs);
    node["spec"]["taints"] = taints.clone();
    node
}

fn taints(lab: &Lab) -> Value {
    lab.cluster.node("n1").expect("a Node")["spec"]["taints"].clone()
}

#[test]
fn it_goes_when_the_agent_is_ready_and_others_stay() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    let ours = json!({"key": KEY, "effect": "NoSchedule"});
    let other = json!({"key": "dedicated", "value": "gpu", "effect": "NoSchedule"});
    let all = json!([other, ours]);
    lab.cluster.set_node(Some(tainted(&[], &all)));
    let agent = lab.agent_with(&FLAGS);
    eventually("the agent waits", || lab.probe("/readyz").contains("waiting for spec.podCIDRs"));
    assert_eq!((taints(&lab), lab.cluster.node_patches()), (all.clone(), vec![]));
    lab.cluster.set_node(Some(tainted(&DUAL, &all)));
    eventually("the taint is gone", || taints(&lab) == json!([other]));
    // Put on again, as by whoever makes the Node anew.
    lab.cluster.set_node(Some(tainted(&DUAL, &json!([ours]))));
    eventually("the taint is gone again", || taints(&lab) == json!([]));
    assert_eq!(lab.cluster.node_patches().len(), 2, "{}", agent.log());
}

#[test]
fn a_refusal_is_told_and_the_next_change_tries_again() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    let ours = json!({"key": KEY, "effect": "NoSchedule"});
    lab.cluster.set_node(Some(tainted(&DUAL, &json!([ours]))));
    lab.cluster.refuse_patches(true);
    let agent = lab.agent_with(&FLAGS);
    agent.wait_for_log("cannot remove the taint; trying again");
    lab.cluster.refuse_patches(false);
    lab.cluster.set_node(Some(tainted(&DUAL, &json!([{"key": "x", "effect": "NoExecute"}, ours]))));
    eventually("the taint is gone", || taints(&lab) == json!([{"key": "x", "effect": "NoExecute"}]));
}

#[test]
fn without_the_flag_it_stays() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    let all = json!([{"key": KEY, "effect": "NoSchedule"}]);
    lab.cluster.set_node(Some(tainted(&DUAL, &all)));
    let _agent = lab.agent();
    lab.wait_until_ready();
    eventually("the condition is patched", || lab.cluster.patches().len() == 1);
    assert_eq!((taints(&lab), lab.cluster.node_patches()), (all, vec![]));
}
