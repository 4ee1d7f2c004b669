//! `tripod-node install --watch`: the host stays as the image and the ConfigMap say.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tripod_tests::daemon::Daemon;
use tripod_tests::eventually;

use super::{Host, Recorder, mode};

/// A period beyond the test's deadline, so that only what is noticed at once passes.
const NEVER: &str = "86400";

fn watching(host: &Host) -> Daemon {
    let daemon = Daemon::start(host.command(&["--watch", "--period", NEVER]));
    eventually("the first installation", || host.read("etc/tripod/node.yaml") == "version: v1\n");
    daemon
}

#[test]
fn a_deleted_changed_or_disarmed_program_is_repaired() {
    let host = Host::new();
    let mut daemon = watching(&host);
    let plugin = host.path("opt/cni/bin/tripod-cni");
    fs::remove_file(&plugin).unwrap();
    eventually("the plugin is back", || host.read("opt/cni/bin/tripod-cni") == "plugin 1");
    fs::write(&plugin, "somebody else's").unwrap();
    eventually("the plugin is ours again", || host.read("opt/cni/bin/tripod-cni") == "plugin 1");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o600)).unwrap();
    eventually("the plugin can be executed again", || mode(&plugin) == 0o755);
    fs::remove_file(host.path("opt/cni/bin/loopback")).unwrap();
    fs::remove_file(host.path("opt/cni/bin/tripod-ipam")).unwrap();
    eventually("tripod-ipam is back", || host.path("opt/cni/bin/tripod-ipam").exists());
    eventually("loopback is back", || host.path("opt/cni/bin/loopback").exists());
    assert!(daemon.is_running());
}

#[test]
fn a_changed_config_map_reaches_the_host() {
    let host = Host::new();
    let _daemon = watching(&host);
    host.publish(&[("node.yaml", "version: v1\nmtu: 1400\n"), ("credential-provider.yaml", "version: v1\n")]);
    eventually("the new configuration", || host.read("etc/tripod/node.yaml") == "version: v1\nmtu: 1400\n");
    eventually("the added one", || host.read("etc/tripod/credential-provider.yaml") == "version: v1\n");
    // A key that is taken out leaves its file: without it a program that works would stop.
    host.publish(&[("node.yaml", "version: v1\nmtu: 1300\n")]);
    eventually("the next configuration", || host.read("etc/tripod/node.yaml") == "version: v1\nmtu: 1300\n");
    assert_eq!(host.read("etc/tripod/credential-provider.yaml"), "version: v1\n");
}

#[test]
fn a_whole_folder_that_was_removed_comes_back() {
    let host = Host::new();
    let _daemon = watching(&host);
    fs::remove_dir_all(host.path("opt/cni")).unwrap();
    eventually("the plugin is back", || host.read("opt/cni/bin/tripod-cni") == "plugin 1");
    fs::remove_file(host.path("opt/cni/bin/tripod-cni")).unwrap();
    eventually("the new folder is watched", || host.read("opt/cni/bin/tripod-cni") == "plugin 1");
}

#[test]
fn a_host_that_is_as_it_should_be_is_left_in_peace() {
    let host = Host::new();
    let daemon = watching(&host);
    let mut recorder = Recorder::watch(&host.path("opt/cni/bin"));
    // A name that is nobody's business makes the installer look.
    fs::write(host.path("opt/cni/bin/bridge"), "foreign").unwrap();
    fs::write(host.path("etc/tripod/node.yaml"), "edited").unwrap();
    eventually("the installer looked", || host.read("etc/tripod/node.yaml") == "version: v1\n");
    let events = recorder.events();
    assert!(events.iter().all(|(_, name)| name == "bridge"), "{events:?}");
    assert_eq!(host.read("opt/cni/bin/bridge"), "foreign");
    drop(daemon);
}

#[test]
fn a_terminated_installer_removes_nothing() {
    let host = Host::new();
    let mut daemon = watching(&host);
    assert!(daemon.terminate().success());
    assert_eq!(host.read("opt/cni/bin/tripod-cni"), "plugin 1");
    assert!(host.path("opt/cni/bin/loopback").exists());
    assert_eq!(host.read("etc/tripod/node.yaml"), "version: v1\n");
}

#[test]
fn a_folder_that_becomes_unsafe_is_told_and_served_again_once_it_is_safe() {
    let host = Host::new();
    let report = host.path("report/files.json");
    let path = report.display().to_string();
    let daemon = Daemon::start(host.command(&["--watch", "--period", NEVER, "--report", &path]));
    let bin = host.path("opt/cni/bin");
    let state = || {
        let text = fs::read_to_string(&report).unwrap_or_default();
        let files: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
        let plugin = files.into_iter().find(|file| file["path"] == bin.join("tripod-cni").to_str().unwrap());
        plugin.map(|file| {
            (file["state"].as_str().unwrap().to_owned(), file["why"].as_str().unwrap().to_owned())
        })
    };
    let current = Some(("current".to_owned(), String::new()));
    eventually("it is told that all is well", || state() == current);
    assert_eq!(mode(&report), 0o600);
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(bin.join("tripod-cni")).unwrap();
    daemon.wait_for_log("run chmod go-w on it");
    assert!(!bin.join("tripod-cni").exists());
    eventually("it is told what is wrong", || {
        state().is_some_and(|(state, why)| state == "failed" && why.contains("chmod go-w"))
    });
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    eventually("the plugin is back", || host.read("opt/cni/bin/tripod-cni") == "plugin 1");
    eventually("it is told that all is well again", || state() == current);
}

#[test]
fn a_configuration_with_mistakes_is_not_written_and_so_wakes_nobody() {
    let host = Host::new();
    let provider = host.path("image/tripod-credential-provider");
    fs::copy(tripod_tests::programs::program("tripod-credential-provider"), provider).unwrap();
    let daemon = watching(&host);
    let mut recorder = Recorder::watch(&host.path("etc/tripod"));
    host.publish(&[("node.yaml", "version: v1\n"), ("credential-provider.yaml", "version: v2\n")]);
    daemon.wait_for_log("does not take the new content");
    host.publish(&[("node.yaml", "version: v1\nmtu: 1400\n"), ("credential-provider.yaml", "version: v2\n")]);
    eventually("the next change", || host.read("etc/tripod/node.yaml") == "version: v1\nmtu: 1400\n");
    let events = recorder.events();
    assert!(events.iter().all(|(_, name)| name.contains("node.yaml")), "{events:?}");
}
