//! What the chart's containers and its account may do.

use serde_json::{Value, json};

use super::{containers, every_choice, helm, items, names, object, of_kind, pod, render};

#[test]
fn every_choice_keeps_the_rules() {
    let Some(_) = helm() else { return };
    for (choice, objects) in every_choice() {
        let sets = of_kind(objects, "DaemonSet");
        assert!(!sets.is_empty(), "{choice:?}");
        let broken: Vec<_> = sets.iter().flat_map(|set| broken_rules(set)).collect();
        assert!(broken.is_empty(), "{choice:?}: {broken:#?}");
    }
}

#[test]
fn uninstalling_keeps_the_rules() {
    let Some(_) = helm() else { return };
    let objects = render(&["uninstall.enabled=true"]);
    let broken = broken_rules(object(&objects, "DaemonSet", "tripod-uninstall"));
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A rule is broken only by the value that says so, and by that one alone.
#[test]
fn only_nvidia_privileged_makes_a_container_privileged() {
    let Some(_) = helm() else { return };
    let objects = render(&["nvidia.enabled=true", "nvidia.privileged=true"]);
    for set in of_kind(&objects, "DaemonSet") {
        let nvidia = set["metadata"]["name"] == "tripod-device-plugin-nvidia";
        let broken = broken_rules(set);
        assert_eq!(broken.iter().any(|rule| rule.ends_with("is privileged")), nvidia, "{broken:?}");
        assert_eq!(broken.is_empty(), !nvidia, "{broken:?}");
    }
}

/// Each rule that the DaemonSet breaks.
fn broken_rules(set: &Value) -> Vec<String> {
    let (name, pod) = (set["metadata"]["name"].as_str().expect("a name"), pod(set));
    let mut broken = Vec::new();
    let mut rule = |held: bool, what: &str| {
        if !held {
            broken.push(format!("{name}: {what}"));
        }
    };
    rule(pod["hostPID"].is_null() && pod["hostIPC"].is_null(), "sees the host's processes");
    rule(pod["automountServiceAccountToken"] == false, "mounts a token into every container");
    rule(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile");
    rule(pod["priorityClassName"] == "system-node-critical", "can be pushed off the node");
    rule(
        set["spec"]["selector"]["matchLabels"] == set["spec"]["template"]["metadata"]["labels"],
        "its labels",
    );
    rule(set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] == 0, "two at a time on a node");
    let mounted: Vec<_> = containers(pod).into_iter().flat_map(|one| names_of_mounts(one)).collect();
    for volume in items(&pod["volumes"]) {
        rule(mounted.iter().any(|name| volume["name"] == *name), "has a volume that nobody mounts");
    }
    for container in containers(pod) {
        broken.extend(broken_by_container(name, pod, container));
    }
    broken
}

fn names_of_mounts(container: &Value) -> Vec<&str> {
    names(&items(&container["volumeMounts"]).iter().collect::<Vec<_>>())
}

fn broken_by_container(set: &str, pod: &Value, container: &Value) -> Vec<String> {
    let name = container["name"].as_str().expect("a name");
    let context = &container["securityContext"];
    let mut broken = Vec::new();
    let mut rule = |held: bool, what: &str| {
        if !held {
            broken.push(format!("{set}, container {name}: {what}"));
        }
    };
    rule(context["privileged"].is_null(), "is privileged");
    rule(context["allowPrivilegeEscalation"] == false, "may gain privileges");
    rule(context["readOnlyRootFilesystem"] == true, "can change its image");
    rule(context["capabilities"]["drop"] == json!(["ALL"]), "keeps capabilities");
    let administers_network = ["net", "uninstall"].contains(&name);
    let capabilities = if administers_network { json!(["NET_ADMIN"]) } else { Value::Null };
    rule(context["capabilities"]["add"] == capabilities, "its capabilities");
    rule(container["image"].as_str().is_some_and(|image| !image.ends_with(":latest")), "its image");
    rule(names_of_mounts(container).contains(&"token") == (name == "net"), "its token");
    for (part, kind) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
        rule(container["resources"][part][kind].is_string(), "its resources");
    }
    // A process that is throttled loses what it is there for: answers in time.
    rule(container["resources"]["limits"]["cpu"].is_null(), "has a CPU limit");
    let volumes = names(&items(&pod["volumes"]).iter().collect::<Vec<_>>());
    rule(names_of_mounts(container).iter().all(|mount| volumes.contains(mount)), "mounts what is not there");
    broken
}

/// No Secrets, no Pods, nothing that is deleted.
#[test]
fn the_account_may_do_what_the_agent_does_and_no_more() {
    let Some(_) = helm() else { return };
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let taint = rule(&[""], &["nodes"], &["patch"]);
    let mut expected = vec![
        rule(&[""], &["nodes"], &["get", "list", "watch"]),
        rule(&[""], &["nodes/status"], &["patch"]),
        rule(&["tripod.dev"], &["tripodnodes"], &["get", "list", "watch", "create", "patch", "update"]),
        rule(&["", "events.k8s.io"], &["events"], &["create", "patch"]),
        rule(&["networking.k8s.io"], &["servicecidrs"], &["list"]),
    ];
    assert_eq!(object(&render(&[]), "ClusterRole", "tripod")["rules"], json!(expected));
    expected.insert(2, taint);
    assert_eq!(object(&render(&["startupTaint=true"]), "ClusterRole", "tripod")["rules"], json!(expected));
}

/// Where there is no agent, nobody needs rights.
#[test]
fn without_a_network_the_account_has_no_rights() {
    let Some(_) = helm() else { return };
    let objects = render(&["cni.enabled=false"]);
    for kind in ["ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "CustomResourceDefinition"]
    {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
    let account = object(&objects, "ServiceAccount", "tripod");
    assert_eq!(account["automountServiceAccountToken"], false);
}

/// The policy covers every verb with which the role writes, but those on events.
#[test]
fn the_policy_holds_an_agent_to_its_node() {
    let Some(_) = helm() else { return };
    for (settings, nodes) in
        [(&[][..], json!(["nodes/status"])), (&["startupTaint=true"], json!(["nodes/status", "nodes"]))]
    {
        let objects = render(settings);
        let spec = &object(&objects, "ValidatingAdmissionPolicy", "tripod-own-node")["spec"];
        let rules = &spec["matchConstraints"]["resourceRules"];
        assert_eq!(spec["failurePolicy"], "Fail");
        assert_eq!(rules[0]["resources"], json!(["tripodnodes"]));
        assert_eq!(rules[0]["operations"], json!(["CREATE", "UPDATE", "DELETE"]));
        assert_eq!(rules[1]["resources"], nodes);
        let binding = object(&objects, "ValidatingAdmissionPolicyBinding", "tripod-own-node");
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    }
}
