//! What an admin can set, and what they are told of what they cannot.

use serde_json::Value;
use tripod_tests::programs;

use super::{chart, helm, object, of_kind, render, render_for, run, try_render};

#[test]
fn helm_finds_nothing_wrong() {
    let Some(_) = helm() else { return };
    let output = run(&["lint", "--strict"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_unknown_value_is_refused_by_name() {
    let Some(_) = helm() else { return };
    let cases = [
        ("cni.enable=false", "at '/cni': additional properties 'enable' not allowed"),
        ("podMonitr.enabled=true", "additional properties 'podMonitr' not allowed"),
        ("platform=kubadm", "at '/platform': value must be one of 'kubeadm'"),
        ("image.tag=latest", "at '/image/tag': value must be 'a tag that stays what it is"),
        ("paths.cniBinDir=opt/cni", "at '/paths/cniBinDir': 'opt/cni' does not match"),
        ("config.node.version=v2", "at '/config/node/version': value must be 'v1'"),
        ("credentialProvider.enabled=yes", "at '/credentialProvider/enabled'"),
        ("image.tag=,image.repository=tripod", "image: give a tag or a digest"),
    ];
    for (setting, told) in cases {
        let refused = try_render(&[setting]).expect_err(setting);
        assert!(refused.contains(told), "{setting}: {refused}");
    }
}

#[test]
fn every_container_logs_as_the_admin_wants() {
    let Some(_) = helm() else { return };
    let all = |settings: &[&str]| {
        let objects = render(&[&["split=true", "nvidia.enabled=true"], settings].concat());
        let daemonsets = of_kind(&objects, "DaemonSet").into_iter();
        let pods = daemonsets.map(|it| it["spec"]["template"]["spec"].clone()).collect::<Vec<_>>();
        let lists = pods.iter().flat_map(|pod| [&pod["initContainers"], &pod["containers"]]);
        let containers = lists.filter_map(Value::as_array).flatten().map(|it| it["args"].clone());
        containers.collect::<Vec<_>>()
    };
    assert!(all(&[]).iter().all(Value::is_null));
    let told = all(&["log.level=debug", "log.format=text"]);
    let wanted = serde_json::json!(["--log-level=debug", "--log-format=text"]);
    assert!(told.len() > 4 && told.iter().all(|args| *args == wanted), "{told:?}");
}

#[test]
fn the_schema_is_closed_but_for_what_others_judge() {
    let text = std::fs::read_to_string(chart().join("values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let mut open = Vec::new();
    find_open(&schema, "", &mut open);
    let others_judge = [
        "/definitions/affinity/properties/nodeAffinity",
        "/definitions/affinity/properties/podAffinity",
        "/definitions/affinity/properties/podAntiAffinity",
        "/properties/config/properties/credentialProvider",
        "/properties/config/properties/devicePlugin",
        "/properties/config/properties/node",
    ];
    open.sort();
    assert_eq!(open, others_judge);
}

/// Every object that takes properties of any name and kind.
fn find_open(schema: &Value, path: &str, open: &mut Vec<String>) {
    if schema["type"] == "object" && schema["additionalProperties"].is_null() {
        open.push(path.to_owned());
    }
    let parts = schema.as_object().into_iter().flatten();
    parts.for_each(|(key, part)| find_open(part, &format!("{path}/{key}"), open));
}

/// What programs read is what was set, under the version that they ask for, and still tells what else there is.
#[test]
fn settings_reach_the_programs() {
    let Some(_) = helm() else { return };
    let objects = render(&["config.node.mtu=1400", "config.node.clusterCIDRs={10.244.0.0/16}"]);
    let data = &object(&objects, "ConfigMap", "tripod-config")["data"];
    let text = data["node.yaml"].as_str().expect("a text");
    let node: Value = serde_saphyr::from_str(text).expect("YAML");
    assert_eq!(node, serde_json::json!({"version": "v1", "clusterCIDRs": ["10.244.0.0/16"], "mtu": 1400}));
    assert!(text.contains("#apiServers:"), "{text}");
}

/// The defaults are settings that the programs take.
#[test]
fn the_programs_accept_the_defaults() {
    let Some(_) = helm() else { return };
    let objects = render(&[]);
    let data = &object(&objects, "ConfigMap", "tripod-config")["data"];
    let folder = tempfile::tempdir().expect("a folder");
    for program in ["device-plugin", "credential-provider"] {
        let file = folder.path().join(format!("{program}.yaml"));
        std::fs::write(&file, data[format!("{program}.yaml")].as_str().expect("a text")).expect("a file");
        let mut command = std::process::Command::new(programs::program(&format!("tripod-{program}")));
        let output = command.args(["check-config", "--config"]).arg(&file).output().expect(program);
        assert!(output.status.success(), "{program}: {output:?}");
    }
}

/// Where the API server lacks the kind, the policy is left out, unless somebody insists.
#[test]
fn the_policy_is_for_servers_that_have_the_kind() {
    let Some(_) = helm() else { return };
    let policies = |version: &str, settings: &[&str]| {
        let text = render_for(version, settings).expect("it renders");
        of_kind(&super::documents(&text), "ValidatingAdmissionPolicy").len()
    };
    assert_eq!(policies("1.30.0", &[]), 1);
    assert_eq!(policies("1.29.5", &[]), 0);
    assert_eq!(policies("1.29.5", &["validatingAdmissionPolicy.enabled=true"]), 1);
    assert_eq!(policies("1.37.0", &["validatingAdmissionPolicy.enabled=false"]), 0);
}
