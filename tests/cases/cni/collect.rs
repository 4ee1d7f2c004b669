//! GC beside other calls, and what is not its to take away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{attach, dual, footprint};

/// The runtime lists nothing.
fn nothing_is_valid(mut conf: Value) -> Value {
    conf["cni.dev/valid-attachments"] = json!([]);
    conf
}

/// Somebody who has the lock of the lease store, on the calling thread's node.
fn stuck_lock() -> Child {
    const LOCK: &str = "/run/tripod/ipam/pods/lock";
    let stuck = Command::new("flock").args(["-F", LOCK, "sleep", "60"]).spawn().expect("flock");
    eventually("the lock is held", || {
        !Command::new("flock").args(["-n", LOCK, "true"]).status().expect("flock").success()
    });
    stuck
}

fn records() -> Vec<String> {
    let folder = fs::read_dir("/run/tripod/attachments").into_iter().flatten().flatten();
    let records =
        folder.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    records.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// GC reads the records, finds one that ADD has just begun, and waits for ADD to let go of it.
#[test]
fn an_add_that_ends_while_gc_waits_for_it_keeps_what_it_made() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    attach(&node, &Namespace::sandbox(), "c0");
    let path = sandbox.path();
    let (add, gc) = node.run(move || {
        let mut stuck = stuck_lock();
        let add = Call::new("ADD", &dual("1.1.0")).netns(&path);
        let adding = add.start();
        eventually("ADD has written its intent", || records().len() == 2);
        let gc = Call::new("GC", &nothing_is_valid(dual("1.1.0")));
        let collecting = gc.start();
        eventually("GC waits for the lock too", || waits_for_a_lock(&collecting));
        stuck.kill().expect("flock runs");
        stuck.wait().expect("flock ends");
        let add = add.judge(adding.wait_with_output().expect("an exit status"));
        (add, gc.judge(collecting.wait_with_output().expect("an exit status")))
    });
    add.ok();
    gc.silent();
    Call::new("CHECK", &dual("1.1.0")).netns(&sandbox.path());
    let left = node.sh("cat /run/tripod/attachments/*.json");
    assert!(left.contains("\"c1\"") && left.contains("complete"), "{left}");
    assert_eq!(node.json("ip -j link show type veth").as_array().unwrap().len(), 1);
}

/// Some thread of it sleeps in `fcntl` or `flock` (system calls 72 and 73).
fn waits_for_a_lock(child: &Child) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let mut calls = tasks.filter_map(|task| fs::read_to_string(task.path().join("syscall")).ok());
    calls.any(|call| call.starts_with("72 ") || call.starts_with("73 "))
}

#[test]
fn gc_of_a_chained_plugin_takes_no_addresses_of_the_main_plugin() {
    let Some(node) = Namespace::node() else { return };
    let conf = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "bridge",
        "ipam": {"type": "tripod-ipam", "ranges": [[{"subnet": "10.1.0.0/24"}]]},
    });
    let sandbox = Namespace::sandbox();
    Call::new("ADD", &conf).argv0("tripod-ipam").netns(&sandbox.path()).run(&node).ok();
    let before = footprint(&node);
    let chained = json!({"cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "mode": "chained"});
    Call::new("GC", &nothing_is_valid(chained)).run(&node).silent();
    assert_eq!(footprint(&node), before);
}

/// The link may still stand with the address that the plugin would give to the next pod.
#[test]
fn an_ipam_plugin_collects_nothing_while_an_attachment_could_not_be_undone() {
    let Some(node) = Namespace::node() else { return };
    let refusing = r#"case $CNI_COMMAND in
        ADD) echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.5/24"}]}' ;;
        DEL) echo '{"cniVersion": "1.1.0", "code": 100, "msg": "not now"}'; exit 1 ;;
        GC) touch /run/collected ;;
    esac"#;
    node.run(move || {
        fs::create_dir_all("/run/plugins").expect("an empty /run");
        fs::write("/run/plugins/refusing", format!("#!/bin/sh\n{refusing}\n")).expect("an empty /run");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(Path::new("/run/plugins/refusing"), executable).expect("our own file");
    });
    let conf =
        json!({"cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "ipam": {"type": "refusing"}});
    let sandbox = Namespace::sandbox();
    let call = |verb, conf: &Value| Call::new(verb, conf).env("CNI_PATH", "/run/plugins");
    call("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let (_, text) = call("GC", &nothing_is_valid(conf.clone())).run(&node).failed();
    assert!(text.contains("not now"), "{text}");
    assert_eq!(node.sh("ls /run/collected 2>/dev/null; true"), "");
}
