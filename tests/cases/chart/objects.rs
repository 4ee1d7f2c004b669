//! What is rendered consists of fields that Kubernetes knows.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{every_choice, helm, render};

/// What is left of the object when everything that its kind does not know is dropped; none for a kind that
/// is not Kubernetes' own.
fn known_part(object: &Value) -> Option<Value> {
    fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
        let typed: T =
            serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"));
        serde_json::to_value(typed).expect("JSON")
    }
    let through = match object["kind"].as_str().expect("a kind") {
        "ClusterRole" => through::<ClusterRole>,
        "ClusterRoleBinding" => through::<ClusterRoleBinding>,
        "ConfigMap" => through::<ConfigMap>,
        "CustomResourceDefinition" => through::<CustomResourceDefinition>,
        "DaemonSet" => through::<DaemonSet>,
        "Namespace" => through::<Namespace>,
        "ResourceQuota" => through::<ResourceQuota>,
        "ServiceAccount" => through::<ServiceAccount>,
        "ValidatingAdmissionPolicy" => through::<ValidatingAdmissionPolicy>,
        "ValidatingAdmissionPolicyBinding" => through::<ValidatingAdmissionPolicyBinding>,
        "PodMonitor" | "SecurityContextConstraints" => return None,
        other => panic!("an object of kind {other}"),
    };
    Some(through(object))
}

/// Paths of the fields that `known` lacks or has otherwise.
fn differences(object: &Value, known: &Value, path: &str) -> Vec<String> {
    match (object, known) {
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .flat_map(|(name, value)| differences(value, &known[name], &format!("{path}.{name}")))
            .collect(),
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            let pairs = items.iter().zip(others).enumerate();
            pairs.flat_map(|(at, (one, other))| differences(one, other, &format!("{path}[{at}]"))).collect()
        }
        // 1 and 1.0 are one number.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => Vec::new(),
        _ if object == known => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

fn are_known(objects: &[Value], case: &str) {
    for object in objects {
        if let Some(known) = known_part(object) {
            let unknown = differences(object, &known, object["kind"].as_str().expect("a kind"));
            assert!(unknown.is_empty(), "{case}: {unknown:?}");
        }
    }
}

#[test]
fn every_choice_renders_only_what_kubernetes_knows() {
    let Some(_) = helm() else { return };
    for (choice, objects) in every_choice() {
        are_known(objects, &format!("{choice:?}"));
    }
}

#[test]
fn so_does_everything_that_is_off_by_default() {
    let Some(_) = helm() else { return };
    let switches = [
        "startupTaint=true",
        "podMonitor.enabled=true",
        "nvidia.enabled=true,nvidia.mps=true",
        "nvidia.enabled=true,nvidia.privileged=true",
        "uninstall.enabled=true",
        "priorityClassQuota.enabled=true",
        "image.pullSecrets={registry},image.tag=1.0.0",
        "devicePlugin.nodeSelector.disks=many,split=true",
    ];
    for switch in switches {
        are_known(&render(&[switch]), switch);
    }
}

#[test]
fn a_field_that_nobody_knows_is_found() {
    let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"nmae": "tripod"}});
    let known = known_part(&object).expect("a kind of Kubernetes' own");
    assert_eq!(differences(&object, &known, "Namespace"), ["Namespace.metadata.nmae"]);
}
