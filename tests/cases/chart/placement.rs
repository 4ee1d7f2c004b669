//! Which pods there are, and on which nodes.

use serde_json::{Value, json};

use super::{containers, helm, names, object, of_kind, pod, render, try_render};

/// Names of the DaemonSets, each with its containers.
fn sets(objects: &[Value]) -> Vec<(&str, Vec<&str>)> {
    let sets = of_kind(objects, "DaemonSet").into_iter();
    sets.map(|set| (set["metadata"]["name"].as_str().expect("a name"), names(&containers(pod(set)))))
        .collect()
}

/// Which of the settings' files a pod sees.
fn settings(objects: &[Value], set: &str) -> Value {
    let volumes = pod(object(objects, "DaemonSet", set))["volumes"].clone();
    volumes[0]["configMap"]["items"]
        .as_array()
        .map_or(Value::Null, |items| items.iter().map(|item| item["key"].clone()).collect())
}

#[test]
fn one_pod_has_all_legs() {
    let Some(_) = helm() else { return };
    let objects = render(&[]);
    assert_eq!(sets(&objects), [("tripod", vec!["install", "files", "net", "device-plugin"])]);
    assert_eq!(settings(&objects, "tripod"), Value::Null, "all of them");
}

#[test]
fn split_makes_a_pod_of_each_leg_with_settings_of_its_own() {
    let Some(_) = helm() else { return };
    let objects = render(&["split=true"]);
    let expected = [
        ("tripod", vec!["install", "files", "net"]),
        ("tripod-credential-provider", vec!["install", "files"]),
        ("tripod-device-plugin", vec!["device-plugin"]),
    ];
    assert_eq!(sets(&objects).into_iter().collect::<std::collections::BTreeSet<_>>(), expected.into());
    assert_eq!(settings(&objects, "tripod"), json!(["node.yaml"]));
    assert_eq!(settings(&objects, "tripod-credential-provider"), json!(["credential-provider.yaml"]));
    assert_eq!(settings(&objects, "tripod-device-plugin"), json!(["device-plugin.yaml"]));
}

/// A leg that is off leaves nothing on the host.
#[test]
fn a_leg_that_is_off_is_nowhere() {
    let Some(_) = helm() else { return };
    let objects = render(&["cni.enabled=false", "devicePlugin.enabled=false"]);
    assert_eq!(sets(&objects), [("tripod", vec!["install", "files"])]);
    let pod = pod(object(&objects, "DaemonSet", "tripod"));
    assert_eq!(
        names(&pod["volumes"].as_array().expect("volumes").iter().collect::<Vec<_>>()),
        ["config", "credential-bin", "etc"]
    );
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        assert!(
            container["command"].as_array().expect("words").contains(&json!("--legs=credential-provider"))
        );
        let mounts = container["volumeMounts"].as_array().expect("mounts").iter().collect::<Vec<_>>();
        assert_eq!(names(&mounts), ["config", "credential-bin", "etc"]);
    }
    let nothing = ["cni.enabled=false", "devicePlugin.enabled=false", "credentialProvider.enabled=false"];
    let refused = try_render(&nothing).expect_err("nothing is left");
    assert!(refused.contains("nothing is left to install"), "{refused}");
}

/// Two device plugins on one node would take each other's sockets and ports.
#[test]
fn nodes_with_gpus_have_a_device_plugin_of_their_own_and_no_other() {
    let Some(_) = helm() else { return };
    let labels = "nvidia.nodeSelector.rack=a";
    let objects = render(&["nvidia.enabled=true", labels, "devicePlugin.nodeSelector.disks=many"]);
    assert_eq!(of_kind(&objects, "DaemonSet").len(), 3);
    assert!(!sets(&objects)[0].1.is_empty());
    let gpus = pod(object(&objects, "DaemonSet", "tripod-device-plugin-nvidia"));
    assert_eq!(gpus["runtimeClassName"], "nvidia");
    assert_eq!(gpus["nodeSelector"]["nvidia.com/gpu.present"], "true");
    assert_eq!(gpus["nodeSelector"]["rack"], "a");
    let others = pod(object(&objects, "DaemonSet", "tripod-device-plugin"));
    assert_eq!(others["nodeSelector"]["disks"], "many");
    let one = |key: &str, value: &str| json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]});
    let affinity = &others["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(
        affinity["nodeSelectorTerms"],
        json!([one("nvidia.com/gpu.present", "true"), one("rack", "a")])
    );
    assert!(!names(&containers(pod(object(&objects, "DaemonSet", "tripod")))).contains(&"device-plugin"));
}

#[test]
fn a_privileged_container_takes_the_place_of_the_runtime_class() {
    let Some(_) = helm() else { return };
    let objects = render(&["nvidia.enabled=true", "nvidia.privileged=true", "nvidia.mps=true"]);
    let gpus = pod(object(&objects, "DaemonSet", "tripod-device-plugin-nvidia"));
    assert_eq!(gpus["runtimeClassName"], Value::Null);
    assert_eq!(gpus["containers"][0]["securityContext"]["privileged"], true);
    let mounts = gpus["containers"][0]["volumeMounts"].as_array().expect("mounts");
    let shared = json!({"name": "mps-shm", "mountPath": "/dev/shm"});
    assert!(mounts.contains(&shared), "{mounts:?}");
}

#[test]
fn a_digest_wins_over_the_tag() {
    let Some(_) = helm() else { return };
    let digest = format!("sha256:{}", "0".repeat(64));
    let objects =
        render(&[&format!("image.digest={digest}"), "image.repository=registry.example.com/tripod"]);
    let image = &pod(object(&objects, "DaemonSet", "tripod"))["containers"][0]["image"];
    assert_eq!(image, &format!("registry.example.com/tripod:dev@{digest}"));
}

#[test]
fn prometheus_finds_a_port_that_somebody_answers_on() {
    let Some(_) = helm() else { return };
    let objects = render(&["podMonitor.enabled=true"]);
    let monitor = object(&objects, "PodMonitor", "tripod");
    let set = pod(object(&objects, "DaemonSet", "tripod"));
    let plugin = containers(set).into_iter().find(|one| one["name"] == "device-plugin").expect("it");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], plugin["ports"][0]["name"]);
    let command = plugin["command"].as_array().expect("a command");
    assert!(command.contains(&json!("--metrics-addr=0.0.0.0:9677")), "{command:?}");
    assert_eq!(plugin["ports"][0]["containerPort"], 9677);
    let agent = containers(set).into_iter().find(|one| one["name"] == "net").expect("it");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][1]["port"], agent["ports"][0]["name"]);
    assert_eq!(agent["ports"][0]["containerPort"], 9675);
}
