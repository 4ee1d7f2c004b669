//! CDI specs, read by the library that container runtimes read them with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use serde_json::{Value, json};
use tripod_tests::programs;

use super::*;

const CARD: &str = "example.com/card";
const BY_CDI: &str = "version: v1\nresources:\n- {name: example.com/card, match: {paths: ['/dev/card*']}, strategy: cdi-cri}\n";

/// What a runtime makes of the specs in a folder, built by `cargo e2e`. Without it says loudly what was
/// skipped; in CI that is a failure.
struct Runtime(PathBuf);

impl Runtime {
    fn find() -> Option<Runtime> {
        let program = programs::target_dir().join("cluster/bin/cdi");
        if program.exists() {
            return Some(Runtime(program));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must build {}", program.display());
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            let told =
                format!("\nSKIPPED: cases with the library of CDI; there is no {}\n", program.display());
            drop(std::io::stderr().write_all(told.as_bytes()));
        });
        None
    }

    fn inject(&self, folder: &Path, names: &[&str]) -> Result<Value, String> {
        let output = Command::new(&self.0).arg(folder).args(names).output().unwrap();
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).unwrap());
        }
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

fn cdi_names(answer: &tripod_proto::deviceplugin::v1beta1::AllocateResponse) -> Vec<&str> {
    answer.container_responses[0].cdi_devices.iter().map(|device| device.name.as_str()).collect()
}

#[tokio::test]
async fn a_runtime_finds_the_nodes_of_what_was_allocated_links_included() {
    let (Some(runtime), Some(node)) = (Runtime::find(), Node::new(BY_CDI)) else { return };
    node.add_device("card0", 3);
    node.add_device("other", 5);
    std::os::unix::fs::symlink("other", node.dev("card+link")).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(CARD, 2).await.unwrap();
    let answer = kubelet.allocate(CARD, &["card+link", "card0"]).await.unwrap();
    assert!(answer.container_responses[0].devices.is_empty(), "{answer:?}");
    let container = runtime.inject(&node.cdi(), &cdi_names(&answer)).unwrap();
    let linux = &container["linux"];
    let numbers = |device: &Value| (device["path"].clone(), device["major"].clone(), device["minor"].clone());
    let devices: Vec<_> = linux["devices"].as_array().unwrap().iter().map(numbers).collect();
    let expected = [("/dev/card+link", 5), ("/dev/card0", 3)];
    assert_eq!(devices, expected.map(|(path, minor)| (json!(path), json!(1), json!(minor))));
    assert_eq!(linux["resources"]["devices"][0]["access"], "rw");
    for versions in container["versions"].as_object().unwrap().values() {
        // What is used was there in 0.3.0; nothing reads that any more but by its reader of 0.5.0.
        assert_eq!(*versions, json!(["0.5.0", "0.3.0"]));
    }
}

#[tokio::test]
async fn a_class_with_a_dot_has_the_version_that_allows_it() {
    let config = BY_CDI
        .replace("example.com/card", "example.com/card.shared")
        .replace("strategy", "count: 2, strategy");
    let (Some(runtime), Some(node)) = (Runtime::find(), Node::new(&config)) else { return };
    node.add_device("card0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable("example.com/card.shared", 2).await.unwrap();
    let answer = kubelet.allocate("example.com/card.shared", &["card0::0", "card0::1"]).await.unwrap();
    assert_eq!(cdi_names(&answer), ["example.com/card.shared=card0"]);
    let container = runtime.inject(&node.cdi(), &cdi_names(&answer)).unwrap();
    let versions: Vec<_> = container["versions"].as_object().unwrap().values().collect();
    assert_eq!(versions, [&json!(["0.6.0", "0.6.0"])]);
}

#[tokio::test]
async fn the_spec_follows_what_is_there_and_goes_with_its_rule() {
    let (Some(runtime), Some(node)) = (Runtime::find(), Node::new(BY_CDI)) else { return };
    node.add_device("card0", 3);
    node.add_device("card1", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(CARD, 2).await.unwrap();
    node.remove_device("card1");
    kubelet.until_allocatable(CARD, 1).await.unwrap();
    let error = runtime.inject(&node.cdi(), &["example.com/card=card1"]).unwrap_err();
    assert!(error.contains("unresolvable CDI devices example.com/card=card1"), "{error}");
    runtime.inject(&node.cdi(), &["example.com/card=card0"]).unwrap();
    std::fs::write(node.cdi().join("other.json"), "{}").unwrap();
    node.configure("version: v1\nresources: []\n");
    plugin.until_logged("removed a CDI spec").await;
    let left: Vec<_> = node.cdi().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["other.json"]);
}

#[tokio::test]
async fn the_spec_of_what_is_no_longer_offered_stays_while_a_container_holds_it() {
    let Some(node) = Node::new(BY_CDI) else { return };
    node.add_device("card0", 3);
    node.add_device("ttyT0", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    kubelet.serve_podresources(&node.podresources()).unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(CARD, 1).await.unwrap();
    let held = kubelet.admit(CARD, 1).await.unwrap();
    let spec = node.cdi().join("tripod-example.com-card.json");
    node.configure(CONFIG);
    plugin.until_logged("no longer offering").await;
    assert!(spec.exists());
    plugin.stop().await;
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    assert!(spec.exists(), "it knows nothing of the resource but what the kubelet says");
    kubelet.release(&held.container).unwrap();
    plugin.until_logged("removed a CDI spec").await;
    assert!(!spec.exists());
}

#[tokio::test]
async fn nothing_is_allocated_whose_spec_cannot_be_written() {
    let Some(node) = Node::new(BY_CDI) else { return };
    node.add_device("card0", 3);
    std::fs::write(node.cdi(), "in the way").unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(CARD, 1).await.unwrap();
    let refused = kubelet.allocate(CARD, &["card0"]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    for told in ["tripod-example.com-card.json", "make its folder writable, or use strategy device-specs"] {
        assert!(refused.message().contains(told), "{refused}");
    }
    std::fs::remove_file(node.cdi()).unwrap();
    node.add_device("nudge", 5);
    plugin.until_logged("devices can be given to containers again").await;
    kubelet.allocate(CARD, &["card0"]).await.unwrap();
}

#[tokio::test]
async fn annotations_name_the_same_devices() {
    let Some(node) = Node::new(&BY_CDI.replace("cdi-cri", "cdi-annotations")) else { return };
    node.add_device("card0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(CARD, 1).await.unwrap();
    let answer = kubelet.allocate(CARD, &["card0"]).await.unwrap();
    let container = &answer.container_responses[0];
    assert_eq!(container.annotations.values().collect::<Vec<_>>(), ["example.com/card=card0"]);
    assert!(container.cdi_devices.is_empty() && node.cdi().join("tripod-example.com-card.json").exists());
}
