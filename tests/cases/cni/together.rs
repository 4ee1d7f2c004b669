//! Calls that run at the same time, and calls that are given up.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{dual, footprint};

#[test]
fn sixteen_pods_at_once_get_addresses_of_their_own_and_leave_nothing() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let pods: Vec<Namespace> = (0..16).map(|_| Namespace::sandbox()).collect();
    let calls = |verb: &str| -> Vec<Call> {
        let call = |(number, pod): (usize, &Namespace)| {
            Call::new(verb, &dual("1.1.0")).container(&format!("c{number}")).netns(&pod.path())
        };
        pods.iter().enumerate().map(call).collect()
    };
    let documents = at_once(&node, calls("ADD"));
    let addresses: HashSet<String> = documents
        .iter()
        .flat_map(|add| add.as_ref().expect("a result")["ips"].as_array().unwrap())
        .map(Value::to_string)
        .collect();
    assert_eq!(addresses.len(), 32);
    at_once(&node, calls("DEL"));
    assert_eq!(footprint(&node), before);
}

/// Threads inherit the node from the thread that starts them.
fn at_once(node: &Namespace, calls: Vec<Call>) -> Vec<Option<Value>> {
    node.run(move || {
        let started: Vec<_> = calls.into_iter().map(|call| thread::spawn(move || call.execute())).collect();
        started
            .into_iter()
            .map(|call| {
                let outcome = call.join().expect("the call ends");
                assert!(outcome.success, "{outcome:?}");
                outcome.document
            })
            .collect()
    })
}

#[test]
fn an_add_that_waits_for_a_stuck_lock_undoes_itself_on_sigterm() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    node.sh("mkdir -p /run/tripod/ipam/pods /run/tripod/attachments");
    let before = footprint(&node);
    let path = sandbox.path();
    let output = node.run(move || {
        let mut stuck = Command::new("flock");
        let mut stuck =
            stuck.args(["-F", "/run/tripod/ipam/pods/lock", "sleep", "60"]).spawn().expect("flock");
        tripod_tests::eventually("the lock is held", || {
            let free = Command::new("flock").args(["-n", "/run/tripod/ipam/pods/lock", "true"]).status();
            !free.expect("flock").success()
        });
        let add = waiting_add(&path);
        kill(Pid::from_raw(i32::try_from(add.id()).unwrap()), Signal::SIGTERM).expect("the plugin runs");
        let output = add.wait_with_output().expect("an exit status");
        stuck.kill().expect("flock runs");
        stuck.wait().expect("flock ends");
        output
    });
    let failure: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(failure["code"], 11, "{failure}");
    assert!(failure["msg"].as_str().unwrap().contains("SIGTERM"), "{failure}");
    assert_eq!(footprint(&node), before);
}

/// An ADD that has written its intent and waits for the lock.
fn waiting_add(sandbox: &std::path::Path) -> std::process::Child {
    let mut add = Command::new(programs::program("tripod-cni"));
    add.env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", sandbox);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the plugin starts");
    let mut stdin = add.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, dual("1.1.0").to_string().as_bytes()).expect("it reads");
    drop(stdin);
    tripod_tests::eventually("ADD has written its intent", || {
        std::fs::read_dir("/run/tripod/attachments").is_ok_and(|mut records| records.next().is_some())
    });
    add
}
