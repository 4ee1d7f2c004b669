//! Calls that run at the same time, and calls that are given up.

use std::collections::HashSet;
use std::fs;
use std::io::{self, PipeWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
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

/// More than one asks: the kubelet by the runtime, an admin, another network's.
#[test]
fn status_is_no_other_while_others_ask_too() {
    let Some(node) = Namespace::node() else { return };
    for _ in 0..10 {
        at_once(&node, vec![Call::new("STATUS", &dual("1.1.0")).without("CNI_CONTAINERID"); 8]);
    }
}

/// A runtime that ends tells its plugins to, and reads nothing any more.
#[test]
fn an_add_whose_result_nobody_hears_is_undone_after_sigterm_too() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    node.sh("mkdir -p /run/tripod/ipam/pods /run/tripod/attachments");
    let before = footprint(&node);
    let path = sandbox.path();
    let status = node.run(move || {
        let (reader, writer) = io::pipe().expect("a pipe");
        fill(&writer);
        let mut add = start_add(&path, Stdio::from(writer));
        tripod_tests::eventually("ADD has done everything", || {
            let mut records = fs::read_dir("/run/tripod/attachments").expect("the folder").flatten();
            records.any(|one| fs::read_to_string(one.path()).is_ok_and(|text| text.contains("complete")))
        });
        kill(Pid::from_raw(i32::try_from(add.id()).unwrap()), Signal::SIGTERM).expect("the plugin runs");
        drop(reader);
        add.wait().expect("an exit status")
    });
    assert_eq!(status.code(), Some(1));
    assert_eq!(footprint(&node), before);
}

/// Until whoever writes next has to wait.
fn fill(mut pipe: &PipeWriter) {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe");
    while pipe.write(&[b' '; 4096]).is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("a pipe");
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
fn waiting_add(sandbox: &Path) -> Child {
    let add = start_add(sandbox, Stdio::piped());
    tripod_tests::eventually("ADD has written its intent", || {
        fs::read_dir("/run/tripod/attachments").is_ok_and(|mut records| records.next().is_some())
    });
    add
}

fn start_add(sandbox: &Path, stdout: Stdio) -> Child {
    let mut add = Command::new(programs::program("tripod-cni"));
    add.env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", sandbox);
    let mut add = add.stdin(Stdio::piped()).stdout(stdout).spawn().expect("the plugin starts");
    let mut stdin = add.stdin.take().expect("a pipe");
    stdin.write_all(dual("1.1.0").to_string().as_bytes()).expect("it reads");
    add
}
