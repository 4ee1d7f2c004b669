//! `kubectl tripod`, with a `kubectl` that answers from files: what a cluster's one would be asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::programs::program;

/// A folder with the plugin under its name, and answers by pod.
struct Desk(TempDir);

impl Desk {
    fn new(pods: &[(&str, Value)]) -> Self {
        let desk = Self(tempfile::tempdir().expect("a folder"));
        symlink(program("tripod-node"), desk.0.path().join("kubectl-tripod")).expect("a link");
        // As the real one prints what is asked for; the last pod has no node yet.
        let pod = |(node, _): &(&str, Value)| format!("{node}\ttripod-{node}\tfiles net\n");
        let list: String = pods.iter().map(pod).collect();
        fs::write(desk.0.path().join("pods"), list + "\ttripod-waits\tfiles net\n").expect("a file");
        for (node, answer) in pods {
            if !answer.is_null() {
                desk.write(&format!("tripod-{node}.json"), answer);
            }
        }
        let script = "#!/bin/sh\ncd \"${0%/*}\"; printf '%s\\n' \"$*\" >> asked\n\
            case \"$*\" in *' get pods '*' --output=jsonpath={range .items'*) exec cat pods;; esac\n\
            case \"$*\" in *' --container files '*)\n\
              for word; do [ -f \"$word.files\" ] && exec cat \"$word.files\"; done; echo '[]'; exit;;\n\
            esac\n\
            for word; do [ -f \"$word.json\" ] && cat \"$word.json\" && exit 1; done\n\
            echo 'unable to upgrade connection' >&2; exit 1\n";
        fs::write(desk.0.path().join("kubectl"), script).expect("a file");
        fs::set_permissions(desk.0.path().join("kubectl"), fs::Permissions::from_mode(0o755))
            .expect("a mode");
        desk
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.0.path().join(name), value.to_string()).expect("a file");
    }

    fn ask(&self, words: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        let mut command = Command::new(self.0.path().join("kubectl-tripod"));
        command.args(words).env("PATH", path).output().expect("the program runs")
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.0.path().join("asked")).unwrap_or_default()
    }
}

fn status(is_ready: bool) -> Value {
    let phase = if is_ready { "ready" } else { "failing" };
    json!({"phase": phase, "ready": is_ready, "podCIDRs": ["10.244.1.0/24"], "leases": [{"free": 250}],
        "peers": [{"name": "n2", "state": "linked"}, {"name": "n3", "state": "ignored"}]})
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn all_nodes_are_in_one_table_and_one_that_is_not_ready_is_a_failure() {
    let desk = Desk::new(&[("n2", status(true)), ("n1", status(true))]);
    let told = desk.ask(&["status", "--context=lab"]);
    assert!(told.status.success(), "{told:?}");
    let lines: Vec<String> = text(&told)
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines, ["NODE STATE", "n1 ready", "n2 ready"]);
    assert!(text(&told).contains("1/2") && text(&told).contains("250"), "{}", text(&told));
    let asked = desk.asked();
    assert!(
        asked.lines().all(|line| line.starts_with("--context=lab --namespace=tripod-system ")),
        "{asked}"
    );
    let exec = "exec tripod-n1 --container net -- /tripod-node status --json";
    assert!(asked.contains(exec), "{asked}");
    let desk = Desk::new(&[("n1", status(true)), ("n2", status(false))]);
    let told = desk.ask(&["status"]);
    assert!(told.status.code() == Some(1) && text(&told).contains("failing"), "{told:?}");
}

#[test]
fn a_node_that_does_not_answer_hides_no_other() {
    let desk = Desk::new(&[("n1", Value::Null), ("n2", status(true))]);
    let told = desk.ask(&["status"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told).contains("n2    ready"), "{}", text(&told));
    assert!(text(&told).contains("node n1 does not answer: ") && text(&told).contains("upgrade connection"));
    let json: Value = serde_json::from_slice(&desk.ask(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!((&json[0]["answer"], &json[1]["answer"]["ready"]), (&Value::Null, &json!(true)));
}

#[test]
fn a_list_that_is_not_what_was_asked_for_is_an_error() {
    let desk = Desk::new(&[("n1", status(true))]);
    fs::write(desk.0.path().join("pods"), "n1\ttripod-n1\tfiles net\nn2\ttrip").expect("a file");
    let told = desk.ask(&["status"]);
    let complaint = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && complaint.contains("list of pods"), "{told:?}");
}

#[test]
fn a_bundle_has_what_each_node_says_and_is_its_owners() {
    let answer = json!({"metrics": "tripod_state 1\n", "status": {"ready": true}});
    let desk = Desk::new(&[("n1", answer), ("n2", Value::Null)]);
    let path = desk.0.path().join("bundle.tar");
    let told = desk.ask(&["collect", "--output", path.to_str().expect("a path")]);
    assert_eq!(told.status.code(), Some(1), "n2 did not answer: {told:?}");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let mut archive = tar::Archive::new(fs::File::open(&path).expect("a file"));
    let name = |entry: tar::Entry<fs::File>| entry.path().expect("a path").display().to_string();
    let mut names: Vec<String> =
        archive.entries().expect("an archive").map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    let all = [
        "n1/leases.json",
        "n1/metrics.txt",
        "n1/status.json",
        "n2/error.txt",
        "n2/leases.json",
        "tripodnodes.json",
    ];
    assert_eq!(names, all.map(|name| format!("tripod/{name}")));
    assert!(
        !desk.ask(&["collect", "--output", path.to_str().expect("a path")]).status.success(),
        "it is there"
    );
}

#[test]
fn findings_and_leases_are_told_with_their_node() {
    let finding = json!({"check": "forward", "severity": "warn", "object": "ip filter", "evidence": "drops", "fix": "x"});
    let desk = Desk::new(&[("n1", json!([{"severity": "ok"}])), ("n2", json!([finding]))]);
    let writable = json!({"check": "files", "severity": "warn", "object": "/opt/cni/bin"});
    desk.write("tripod-n1.files", &json!([writable]));
    let told = desk.ask(&["doctor"]);
    assert!(told.status.success() && text(&told).contains("n2    warn      forward"), "{told:?}");
    assert!(text(&told).contains("n1    warn      files    /opt/cni/bin"), "{told:?}");
    let json: Value = serde_json::from_slice(&desk.ask(&["doctor", "--json"]).stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2), "one answer of each node: {json}");
    assert_eq!(json[0]["answer"].as_array().map(Vec::len), Some(2), "{json}");
    let lists = desk.asked().lines().filter(|line| line.contains(" get pods ")).count();
    assert_eq!(lists, 2, "one for each of two questions: {}", desk.asked());
    let lease = json!({"network": "tripod", "address": "10.244.1.2", "containerID": "c1", "alive": true});
    let desk = Desk::new(&[("n1", json!([lease]))]);
    assert!(text(&desk.ask(&["leases", "n1"])).contains("n1    tripod   10.244.1.2"));
    assert!(desk.asked().contains("--field-selector=spec.nodeName=n1"), "{}", desk.asked());
    let nobody = desk.ask(&["devices"]);
    assert!(!nobody.status.success() && String::from_utf8_lossy(&nobody.stderr).contains("device-plugin"));
}
