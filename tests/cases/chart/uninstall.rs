//! Uninstalling is a rendering of its own.

use serde_json::json;

use super::{containers, helm, names, object, of_kind, pod, render};

#[test]
fn nothing_else_runs_and_nobody_has_rights() {
    let Some(_) = helm() else { return };
    let objects = render(&["uninstall.enabled=true", "split=true", "nvidia.enabled=true"]);
    assert_eq!(names(&of_kind(&objects, "DaemonSet")), ["tripod-uninstall"]);
    assert_eq!(names(&containers(pod(of_kind(&objects, "DaemonSet")[0]))), ["uninstall"]);
    for kind in ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "ValidatingAdmissionPolicy"] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
}

/// An agent that still ran would put back what is taken away.
#[test]
fn a_nodes_other_pods_go_first() {
    let Some(_) = helm() else { return };
    let uninstalling = render(&["uninstall.enabled=true"]);
    let pod = pod(object(&uninstalling, "DaemonSet", "tripod-uninstall"));
    let term = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    let is = |key: &str, operator: &str, value: &str| json!({"key": format!("app.kubernetes.io/{key}"), "operator": operator, "values": [value]});
    assert_eq!(
        term["labelSelector"]["matchExpressions"],
        json!([is("name", "In", "tripod"), is("component", "NotIn", "uninstall")])
    );
    for set in of_kind(&render(&["split=true"]), "DaemonSet") {
        let labels = &set["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "tripod");
        assert!(labels["app.kubernetes.io/component"].is_string(), "{labels}");
    }
}

/// The paths that it is told are those that it has.
#[test]
fn every_path_of_the_command_is_mounted() {
    let Some(_) = helm() else { return };
    let objects = render(&["uninstall.enabled=true", "platform=k3s"]);
    let container = &pod(object(&objects, "DaemonSet", "tripod-uninstall"))["containers"][0];
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let command = container["command"].as_array().expect("a command");
    assert_eq!(command[..2], [json!("/tripod-node"), json!("uninstall")]);
    let paths: Vec<_> =
        command.iter().filter_map(|word| word.as_str()?.split_once('=').map(|(_, path)| path)).collect();
    assert_eq!(paths.len(), mounts.len(), "{command:?}");
    for path in paths {
        let under =
            |mount: &serde_json::Value| path.starts_with(mount["mountPath"].as_str().expect("a path"));
        assert!(mounts.iter().any(under), "{path}");
    }
}
