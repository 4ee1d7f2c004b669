//! The wire: versions, environment, standard input.

use std::path::PathBuf;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{dual, footprint};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Compares with the golden document `name`, or writes it when `TRIPOD_BLESS` is set.
fn assert_golden(name: &str, got: &Value) {
    let path: PathBuf = programs::workspace().join("tests/golden/cni").join(name);
    if std::env::var_os("TRIPOD_BLESS").is_some() {
        let text = serde_json::to_string_pretty(got).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("the golden folder");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).expect("a golden document");
    assert_eq!(*got, golden, "{name}");
}

#[test]
fn add_answers_in_the_shape_of_every_version() {
    for version in VERSIONS {
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        let mut got = Call::new("ADD", &dual(version)).netns(&sandbox.path()).run(&node).ok();
        if let Some(place) = got.pointer_mut("/interfaces/1/sandbox") {
            assert_eq!(*place, sandbox.path().to_str().unwrap());
            *place = json!("SANDBOX");
        }
        assert_golden(&format!("add-{version}.json"), &got);
    }
}

#[test]
fn del_takes_the_result_of_every_version() {
    for version in VERSIONS {
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        let mut conf = dual(version);
        conf["prevResult"] = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    }
}

#[test]
fn version_needs_neither_configuration_nor_attachment() {
    let Some(node) = Namespace::node() else { return };
    let call = Call::new("VERSION", &Value::Null).stdin(b"").without("CNI_CONTAINERID").without("CNI_IFNAME");
    assert_eq!(call.run(&node).ok(), json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}));
}

#[test]
fn a_verb_that_the_version_does_not_know_is_code_1() {
    let Some(node) = Namespace::node() else { return };
    for (verb, version) in [("CHECK", "0.3.1"), ("STATUS", "1.0.0"), ("GC", "1.0.0"), ("ADD", "0.9.0")] {
        let call = Call::new(verb, &dual(version)).env("CNI_NETNS", "/proc/1/ns/net");
        let (code, text) = call.run(&node).failed();
        assert!(code == 1 && text.contains("supported"), "{verb} {version}: {code} {text}");
    }
}

#[test]
fn the_environment_is_checked_by_name() {
    let Some(node) = Namespace::node() else { return };
    let add = || Call::new("ADD", &dual("1.1.0")).env("CNI_NETNS", "/proc/1/ns/net");
    for (call, name) in [
        (add().env("CNI_COMMAND", "FROB"), "CNI_COMMAND"),
        (add().without("CNI_COMMAND"), "CNI_COMMAND"),
        (add().without("CNI_CONTAINERID"), "CNI_CONTAINERID"),
        (add().env("CNI_CONTAINERID", "../x"), "CNI_CONTAINERID"),
        (add().without("CNI_IFNAME"), "CNI_IFNAME"),
        (add().env("CNI_IFNAME", "much-too-long-a-name"), "CNI_IFNAME"),
        (add().without("CNI_NETNS"), "CNI_NETNS"),
    ] {
        let (code, text) = call.run(&node).failed();
        assert!(code == 4 && text.contains(name), "{name}: {code} {text}");
    }
}

#[test]
fn what_is_not_decodable_is_code_6() {
    let Some(node) = Namespace::node() else { return };
    let deep = "[".repeat(100_000);
    let long = vec![b' '; 10 << 20];
    let before = footprint(&node);
    for text in [b"".as_slice(), b"{", b"null", b"[]", b"\xff\xfe", deep.as_bytes(), &long] {
        let call = Call::new("ADD", &Value::Null).env("CNI_NETNS", "/proc/1/ns/net").stdin(text);
        let (code, message) = call.run(&node).failed();
        assert_eq!(code, 6, "{message}");
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn without_a_command_the_plugin_explains_itself_to_a_person() {
    let Some(node) = Namespace::node() else { return };
    let call = Call::new("", &Value::Null).without("CNI_COMMAND").without("CNI_CONTAINERID");
    let outcome = call.without("CNI_IFNAME").without("CNI_PATH").stdin(b"").run(&node);
    assert!(outcome.success && outcome.document.is_none());
    assert!(outcome.stderr.contains("CNI plugin") && outcome.stderr.contains("1.1.0"), "{}", outcome.stderr);
}

#[test]
fn loopback_sets_lo_up_and_down() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let conf = json!({"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"});
    let call =
        |verb: &str| Call::new(verb, &conf).argv0("loopback").env("CNI_IFNAME", "lo").netns(&sandbox.path());
    let mut add = call("ADD").run(&node).ok();
    add["interfaces"][0]["sandbox"] = json!("SANDBOX");
    assert_golden("loopback-0.3.1.json", &add);
    sandbox.sh("ping -c1 -W1 127.0.0.1; ping -c1 -W1 ::1");
    call("DEL").run(&node).silent();
    assert_eq!(sandbox.json("ip -j link show lo")[0]["operstate"], "DOWN");
    call("DEL").env("CNI_NETNS", "/run/netns/gone").run(&node).silent();
    call("DEL").env("CNI_NETNS", "").run(&node).silent();
}

#[test]
fn loopback_hands_the_result_of_a_chain_on() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let prior = json!({
        "cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/n"}], "vendor": 7,
        "ips": [{"address": "10.9.0.2/24", "interface": 0}],
    });
    let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "loopback", "prevResult": prior});
    let add = |conf: &Value| Call::new("ADD", conf).argv0("loopback").netns(&sandbox.path()).run(&node);
    assert_eq!(add(&conf).ok(), prior);
    sandbox.sh("ping -c1 -W1 127.0.0.1");
    let wrong = json!({"cniVersion": "1.0.0", "name": "n", "type": "loopback", "prevResult": "x"});
    let (code, text) = add(&wrong).failed();
    assert!(code == 7 && text.contains("prevResult"), "{code} {text}");
}
