//! Which devices go together, as the kubelet is told and as a person is told.

use std::process::{Command, Output};

use serde_json::Value;
use tripod_tests::programs::program;

use super::*;

const SHARED: &str =
    "version: v1\nresources:\n- name: example.com/serial\n  count: 2\n  match: {paths: [/dev/ttyT*]}\n";

fn device_plugin(arguments: &[&str]) -> Output {
    Command::new(program("tripod-device-plugin")).args(arguments).output().unwrap()
}

/// What `discover` says of `node`, saved.
fn saved(node: &Node) -> String {
    let (config, root) = (node.config(), node.root());
    let (config, root) = (config.to_str().unwrap(), root.to_str().unwrap());
    let found = device_plugin(&["discover", "--config", config, "--host-root", root, "--output", "json"]);
    assert!(found.status.success(), "{found:?}");
    let file = node.folder.path().join("saved.json");
    std::fs::write(&file, found.stdout).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn prefer_says_what_the_kubelet_is_answered() {
    let Some(node) = Node::new(SHARED) else { return };
    for (name, minor) in [("ttyT0", 3), ("ttyT1", 5), ("ttyT2", 7)] {
        node.add_device(name, minor);
    }
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 6).await.unwrap();
    let inventory = saved(&node);
    let questions = [
        ("ttyT2::1,ttyT0::0,ttyT0::1,ttyT1::0", "", "2", "ttyT0::0 ttyT1::0"),
        ("ttyT2::1,ttyT0::0,ttyT0::1,ttyT1::0", "ttyT1::0", "2", "ttyT1::0 ttyT0::0"),
        ("ttyT2::1,ttyT0::0,ttyT0::1", "", "1", "ttyT0::0"),
    ];
    for (available, must, size, wanted) in questions {
        let list =
            |ids: &str| ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let answer = kubelet.preferred(SERIAL, &list(available), &list(must), size.parse().unwrap()).await;
        assert_eq!(answer.unwrap().join(" "), wanted);
        let mut arguments = vec!["prefer", "--inventory", &inventory, "--resource", SERIAL, "--size", size];
        arguments.extend(["--output", "json", "--available", available]);
        if !must.is_empty() {
            arguments.extend(["--must", must]);
        }
        let said = device_plugin(&arguments);
        let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        let ids: Vec<_> =
            said["chosen"]["devices"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        assert_eq!(ids.join(" "), wanted, "{said}");
    }
}

#[test]
fn prefer_refuses_what_it_cannot_read_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.json");
    let file = file.to_str().unwrap();
    let refused = |text: &str| {
        std::fs::write(file, text).unwrap();
        let said = device_plugin(&["prefer", "--inventory", file, "--resource", "a.b/c", "--size", "1"]);
        assert_eq!((said.status.code(), said.stdout.len()), (Some(1), 0), "{said:?}");
        String::from_utf8(said.stderr).unwrap()
    };
    let said = refused("{\"version\": \"v1\", \"devices\": [{\"id\": \"x\", \"health\": \"Healthy\"}]}");
    assert!(said.contains("missing field `resource`"), "{said}");
    assert!(said.contains("saved.json is not what `discover --output json` prints"), "{said}");
    let said = refused("{\"version\": \"v1\", \"devices\": []}");
    assert!(said.contains("no device of any resource"), "{said}");
}
