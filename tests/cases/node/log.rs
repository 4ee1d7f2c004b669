//! What is logged, as the admin wants it.

use serde_json::Value;

use super::Host;

const SAID: &str = "the host's files are as the image and the configuration say";

/// What an installation logs with these flags and this `RUST_LOG`.
fn logged(flags: &[&str], rust_log: &str) -> String {
    let output = Host::new().command(flags).env("RUST_LOG", rust_log).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn each_line_is_an_object_for_programs() {
    let log = logged(&[], "");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let said: Vec<Value> = lines.filter(|line| line["message"] == SAID).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0]["level"] == "INFO" && said[0]["changed"].as_u64() > Some(0), "{log}");
}

#[test]
fn or_text_for_people_without_colours_in_a_file() {
    let log = logged(&["--log-format=text"], "");
    let line = log.lines().find(|line| line.contains(SAID)).expect("a line");
    assert!(line.contains(" INFO tripod_node: ") && line.contains(" changed="), "{line}");
    assert!(!log.contains(['{', '\u{1b}']), "{log}");
}

#[test]
fn no_more_of_it_than_is_wanted() {
    assert_eq!(logged(&["--log-level=error"], ""), "");
    assert!(logged(&["--log-level=error"], "info").contains(SAID), "RUST_LOG wins");
}
