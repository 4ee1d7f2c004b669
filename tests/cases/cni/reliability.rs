//! A node in a bad state: full or read-only folders, stuck processes, lost files, foreign rules. Each
//! call ends in time, with a typed error where it cannot do its work, and changes nothing else.

mod types;

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tripod_tests::exec::{Call, Outcome};
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{attach, conf, dual, footprint};

/// A GC that lists these containers.
fn gc(conf: &Value, valid: &[&str]) -> Call {
    let mut conf = conf.clone();
    let list: Vec<Value> = valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
    conf["cni.dev/valid-attachments"] = json!(list);
    Call::new("GC", &conf)
}

/// An ADD that stops before its first step called `step`, until `meanwhile` has run.
fn stopped_at<T: Send + 'static>(
    node: &Namespace,
    add: Call,
    step: &str,
    meanwhile: impl FnOnce() -> T + Send + 'static,
) -> (Outcome, T) {
    let add = add.env("TRIPOD_FAILPOINT", &format!("stop {step}"));
    let step = step.to_owned();
    node.run(move || {
        let child = add.start();
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("a child");
        assert!(matches!(status, WaitStatus::Stopped(..)), "{step}: {status:?}");
        let result = meanwhile();
        kill(pid, Signal::SIGCONT).expect("a stopped process");
        (add.judge(child.wait_with_output().expect("an exit status")), result)
    })
}

fn add_with_failpoints(pod: &Namespace) -> Call {
    Call::of(&programs::with_failpoints(), "ADD", &dual("1.1.0")).netns(&pod.path())
}

#[test]
fn a_full_folder_fails_add_wherever_it_is_full_and_never_del() {
    // Each file takes one page and one inode.
    for (option, least) in [("nr_inodes=", 6), ("mode=700,size=4096*", 2)] {
        let Some(node) = Namespace::node() else { return };
        node.sh("mkdir /run/tripod");
        let before = footprint(&node);
        for limit in 2.. {
            let option = match option.strip_suffix("4096*") {
                Some(option) => format!("{option}{}", 4096 * (limit - 1)),
                None => format!("{option}{limit}"),
            };
            node.sh(&format!("mount -t tmpfs -o {option} tmpfs /run/tripod"));
            let pod = Namespace::sandbox();
            let outcome = Call::new("ADD", &dual("1.1.0")).netns(&pod.path()).run(&node);
            if outcome.success {
                assert!(limit > least, "{option}");
                node.try_sh("head -c 1M /dev/zero > /run/tripod/ipam/pods/lock; touch /run/tripod/more");
                Call::new("DEL", &dual("1.1.0")).netns(&pod.path()).run(&node).silent();
                node.sh("rm -f /run/tripod/more");
                assert_eq!(footprint(&node), before, "{option}");
                break;
            }
            let (code, text) = outcome.failed();
            assert!(
                code == 5 && text.contains("/run/tripod") && text.contains("No space"),
                "{option}: {text}"
            );
            assert_eq!(footprint(&node), before, "{option}");
            node.sh("umount /run/tripod");
        }
    }
}

#[test]
fn a_folder_that_became_read_only_fails_add_and_del_which_can_be_repeated() {
    let Some(node) = Namespace::node() else { return };
    node.sh("mkdir /run/tripod; mount -t tmpfs tmpfs /run/tripod");
    let before = footprint(&node);
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    attach(&node, &one, "c1");
    let attached = footprint(&node);
    node.sh("mount -o remount,ro /run/tripod");
    let add = Call::new("ADD", &dual("1.1.0")).container("c2").netns(&two.path());
    let (code, text) = add.run(&node).failed();
    assert!(code == 5 && text.contains("/run/tripod/attachments") && text.contains("Read-only"), "{text}");
    assert_eq!(footprint(&node), attached);
    let del = Call::new("DEL", &dual("1.1.0")).netns(&one.path());
    let (code, text) = del.clone().run(&node).failed();
    assert!(code == 5 && text.contains("/run/tripod/ipam/pods") && text.contains("Read-only"), "{text}");
    node.sh("mount -o remount,rw /run/tripod");
    del.run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn a_stuck_process_with_the_lease_lock_makes_add_ask_to_try_again() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    attach(&node, &pod, "c9");
    Call::new("DEL", &dual("1.1.0")).container("c9").netns(&pod.path()).run(&node).silent();
    let before = footprint(&node);
    let add = Call::new("ADD", &dual("1.1.0")).netns(&pod.path());
    let (code, text) = node
        .run(move || {
            // It says so when it has the lock.
            let mut stuck = Command::new("flock");
            stuck.args(["/run/tripod/ipam/pods/lock", "sh", "-c", "echo; exec cat"]);
            let mut stuck = stuck.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flock");
            stuck.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("the lock is held");
            let outcome = add.execute();
            drop(stuck.stdin.take());
            stuck.wait().expect("flock ends");
            outcome
        })
        .failed();
    assert!(code == 11 && text.contains("/run/tripod/ipam/pods"), "{code} {text}");
    assert_eq!(footprint(&node), before);
}

#[test]
fn fifos_and_links_in_the_place_of_files_end_in_an_error_or_are_no_matter() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let call = |verb: &str, conf: &Value| Call::new(verb, conf).netns(&pod.path());
    node.sh("mkfifo /run/fifo; echo nameserver 192.0.2.53 > /run/real; ln -s real /run/resolv.conf");
    let mut conf = dual("1.1.0");
    conf["ipam"]["resolvConf"] = json!("/run/fifo");
    let (code, text) = call("ADD", &conf).run(&node).failed();
    assert!(code == 5 && text.contains("/run/fifo") && text.contains("no file"), "{code} {text}");
    conf["ipam"]["resolvConf"] = json!("/run/resolv.conf");
    assert_eq!(call("ADD", &conf).run(&node).ok()["dns"]["nameservers"][0], "192.0.2.53");
    call("DEL", &conf).run(&node).silent();
    // Hints that cannot be used are looked past.
    node.sh(
        "cd /run/tripod/ipam/pods; for f in .taken* .cooling last_reserved_ip*; do rm $f; mkfifo $f; done; \
         mkfifo .taken-tmp .cooling.tmp",
    );
    call("ADD", &conf).run(&node).ok();
    call("DEL", &conf).run(&node).silent();
    for folder in ["ipam/pods", "attachments"] {
        let lock = format!("/run/tripod/{folder}/lock");
        for place in [format!("mkfifo {lock}"), format!("ln -s /run/real {lock}")] {
            node.sh(&format!("rm {lock}; {place}"));
            let (code, text) = call("ADD", &conf).run(&node).failed();
            assert!(code == 5 && text.contains(&lock), "{place}: {code} {text}");
        }
        node.sh(&format!("rm {lock}"));
    }
    call("ADD", &conf).run(&node).ok();
    call("DEL", &conf).run(&node).silent();
    assert_eq!(node.sh("cat /run/real"), "nameserver 192.0.2.53\n");
}

#[test]
fn nobody_works_on_an_attachment_while_another_call_is_stuck_with_it() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let before = footprint(&node);
    let call = |verb: &str| Call::new(verb, &dual("1.1.0")).netns(&pod.path());
    let others = [call("ADD"), call("DEL"), gc(&dual("1.1.0"), &[])];
    let (outcome, refusals) = stopped_at(&node, add_with_failpoints(&pod), "RTM_NEWLINK", move || {
        let started = others.map(|other| thread::spawn(move || other.execute()));
        started.map(|other| other.join().expect("the call ends").failed())
    });
    for (code, text) in refusals {
        assert!(code == 11 && text.contains("c1") && text.contains("at work"), "{code} {text}");
    }
    outcome.ok();
    call("DEL").run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn of_two_adds_of_one_attachment_at_once_one_attaches_and_loses_nothing() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    for _ in 0..10 {
        let pod = Namespace::sandbox();
        let add = Call::new("ADD", &dual("1.1.0")).netns(&pod.path());
        let outcomes = node.run(move || {
            let started = [add.clone(), add].map(|add| thread::spawn(move || add.execute()));
            started.map(|add| add.join().expect("the call ends"))
        });
        let [one, two] = outcomes;
        let (good, bad) = if one.success { (one, two) } else { (two, one) };
        assert_eq!(bad.failed().0, 103);
        let mut conf = dual("1.1.0");
        conf["prevResult"] = good.ok();
        Call::new("CHECK", &conf).netns(&pod.path()).run(&node).silent();
        assert_eq!(node.sh("ls /run/tripod/ipam/pods | grep -cv -e lock -e last").trim(), "2");
        Call::new("DEL", &conf).netns(&pod.path()).run(&node).silent();
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn a_sandbox_that_ends_during_add_leaves_nothing_after_del() {
    for step in ["create record", "link lease", "RTM_NEWLINK", "RTM_NEWADDR", "RTM_NEWROUTE"] {
        let Some(node) = Namespace::node() else { return };
        let before = footprint(&node);
        let pod = Namespace::sandbox();
        let path = pod.path();
        let add = add_with_failpoints(&pod);
        let (outcome, ()) = stopped_at(&node, add, step, move || drop(pod));
        if !outcome.success {
            assert_eq!(footprint(&node), before, "{step}: {outcome:?}");
        }
        // The kernel takes the links away after the last process has left.
        Call::new("DEL", &dual("1.1.0")).netns(&path).run(&node).silent();
        assert_eq!(footprint(&node), before, "{step}");
    }
}

#[test]
fn an_interface_that_is_deleted_during_add_fails_it_and_leaves_nothing() {
    for step in ["RTM_NEWADDR", "RTM_NEWNEIGH", "RTM_NEWROUTE"] {
        let Some(node) = Namespace::node() else { return };
        let before = footprint(&node);
        let pod = std::sync::Arc::new(Namespace::sandbox());
        let inside = std::sync::Arc::clone(&pod);
        let add = add_with_failpoints(&pod);
        let (outcome, ()) = stopped_at(&node, add, step, move || drop(inside.sh("ip link del eth0")));
        let (code, text) = outcome.failed();
        assert!(code == 5 && text.contains("eth0") || text.contains("dev tp"), "{step}: {code} {text}");
        assert_eq!(footprint(&node), before, "{step}");
    }
}

#[test]
fn an_add_whose_result_nobody_can_hear_is_undone() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let pod = Namespace::sandbox();
    let script = format!(
        "printf '%s' '{}' | env -i CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_NETNS={} {} > /dev/full",
        dual("1.1.0"),
        pod.path().display(),
        programs::program("tripod-cni").display(),
    );
    assert!(!node.try_sh(&script).status.success());
    assert_eq!(footprint(&node), before);
}

#[test]
fn rules_of_others_stay_as_they_are() {
    let Some(node) = Namespace::node() else { return };
    node.sh(
        "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; \
           ct state established accept; }; }; \
         table ip nat { chain PREROUTING { type nat hook prerouting priority dstnat; tcp dport 80 counter; }; }; \
         table inet firewalld { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; \
           chain c { type filter hook input priority 10; ip saddr @s drop; }; }; \
         table inet tripod { chain mine { counter; }; }'",
    );
    let others =
        || ["ip filter", "ip nat", "inet firewalld"].map(|table| node.sh(&format!("nft list table {table}")));
    let before = others();
    let pod = Namespace::sandbox();
    attach(&node, &pod, "c1");
    Call::new("DEL", &dual("1.1.0")).netns(&pod.path()).run(&node).silent();
    gc(&dual("1.1.0"), &[]).run(&node).silent();
    assert_eq!(others(), before);
    assert!(node.sh("nft list chain inet tripod mine").contains("counter"));
}

#[test]
fn gc_repairs_records_that_are_torn_or_lost_or_of_another_format() {
    const RECORDS: &str = "/run/tripod/attachments/*.json";
    for damage in [
        format!("for f in {RECORDS}; do printf '{{' > $f; done"),
        format!("for f in {RECORDS}; do : > $f; done"),
        format!("sed -i 's/\"v\":1/\"v\":2/' {RECORDS}"),
        format!("for f in {RECORDS}; do mv $f ${{f%.json}}.tmp; done"),
        format!("rm {RECORDS}"),
    ] {
        let Some(node) = Namespace::node() else { return };
        let pods = [Namespace::sandbox(), Namespace::sandbox()];
        attach(&node, &pods[0], "c1");
        let one = footprint(&node);
        attach(&node, &pods[1], "c2");
        // Only the second one's record is damaged.
        node.sh("mkdir /run/kept; cd /run/tripod/attachments; mv $(grep -l '\"c1\"' *.json) /run/kept/");
        node.sh(&damage);
        node.sh("mv /run/kept/* /run/tripod/attachments/; rmdir /run/kept");
        let damaged = footprint(&node);
        gc(&dual("1.1.0"), &["c1", "c2"]).run(&node).silent();
        assert_eq!(footprint(&node), damaged, "{damage}");
        gc(&dual("1.1.0"), &["c1"]).run(&node).silent();
        assert_eq!(footprint(&node), one, "{damage}");
    }
}

#[test]
fn gc_leaves_what_may_be_another_networks_and_says_so() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let add = attach(&node, &pod, "c1");
    node.sh("for f in /run/tripod/attachments/*.json; do printf '{' > $f; done");
    let before = footprint(&node);
    let mut other = conf("1.1.0", &["10.2.0.0/24"]);
    other["name"] = json!("other");
    let (code, text) = gc(&other, &[]).run(&node).failed();
    let link = add["interfaces"][0]["name"].as_str().expect("a name");
    assert!(code == 5 && text.contains(link) && text.contains("/run/tripod/attachments/"), "{code} {text}");
    assert_eq!(footprint(&node), before);
    // Without a link it stands for nothing here.
    node.sh(&format!("ip link del {link}; rm /run/tripod/ipam/pods/10.* /run/tripod/ipam/pods/fd*"));
    gc(&other, &[]).run(&node).silent();
    assert_eq!(node.sh("ls /run/tripod/attachments"), "lock\n");
}

#[test]
fn del_of_a_record_in_another_format_works_by_name() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let pod = Namespace::sandbox();
    attach(&node, &pod, "c1");
    node.sh(
        "sed -i 's/\"v\":1/\"v\":2/; s/10.1.0.2/10.1.0.99/; s/\"tp/\"xx/' /run/tripod/attachments/*.json",
    );
    Call::new("DEL", &dual("1.1.0")).netns(&pod.path()).run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn gc_goes_on_past_failures_and_reports_them_together() {
    let Some(node) = Namespace::node() else { return };
    node.sh("mkdir -p /run/tripod; mount -t tmpfs tmpfs /run/tripod");
    let pods: Vec<Namespace> = (0..5).map(|_| Namespace::sandbox()).collect();
    for (index, pod) in pods.iter().enumerate() {
        attach(&node, pod, &format!("c{index}"));
    }
    node.sh("mount -o remount,ro /run/tripod");
    let (code, text) = gc(&dual("1.1.0"), &["c4"]).run(&node).failed();
    assert!(code == 5 && text.starts_with("4 of 4 attachments could not be released: container c"), "{text}");
    assert!(
        text.contains(" on eth0: ") && text.contains("Read-only") && text.contains("; and 1 more"),
        "{text}"
    );
    assert!(text.contains("remount that file system"), "{text}");
    assert_eq!(text.matches("container c").count(), 3, "{text}");
    node.sh("mount -o remount,rw /run/tripod");
    gc(&dual("1.1.0"), &["c4"]).run(&node).silent();
    assert_eq!(node.sh("ls /run/tripod/attachments | grep -c json").trim(), "1");
}
