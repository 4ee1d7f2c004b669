use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder with the script `plugin`.
fn folder(script: &str) -> (tempfile::TempDir, Plugins) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugin");
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{script}\n", folder.path().display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let plugins = Plugins {
        folders: vec!["/nowhere".into(), folder.path().to_owned()],
        conf: br#"{"name": "pods"}"#.as_slice().into(),
        deadline: Duration::from_secs(60),
    };
    (folder, plugins)
}

fn read(folder: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn a_plugin_gets_the_configuration_and_the_attachment_and_answers() {
    let script = r#"cat > stdin; echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> calls
        echo '{"ips": [{"address": "10.0.0.5/24"}]}'"#;
    let (folder, plugins) = folder(script);
    assert_eq!(plugins.add("plugin").unwrap().assignments.len(), 1);
    assert_eq!(read(&folder, "stdin"), r#"{"name": "pods"}"#);
    plugins.release("plugin", &Record::for_test("c9")).unwrap();
    assert_eq!(read(&folder, "calls"), "ADD  \nDEL c9 eth0\n");
}

#[test]
fn its_refusal_is_passed_on_with_its_code() {
    let (_folder, plugins) = folder(r#"echo '{"code": 42, "msg": "no luck", "details": "today"}'; exit 1"#);
    let failure = plugins.add("plugin").unwrap_err().failure(crate::Version::V1_1_0);
    assert_eq!(failure.code, 42);
    assert!(failure.msg.contains("no luck") && failure.msg.contains("plugin"), "{failure:?}");
    assert!(failure.details.contains("today"), "{failure:?}");
}

#[test]
fn a_refusal_with_the_code_of_a_success_is_none_and_a_long_one_is_cut() {
    let script = r#"long=$(head -c 9000 /dev/zero | tr '\0' x)
        echo "{\"code\": 0, \"msg\": \"$long\", \"details\": \"$long\"}"; exit 1"#;
    let (_folder, plugins) = folder(script);
    let failure = plugins.add("plugin").unwrap_err().failure(crate::Version::V1_1_0);
    assert_eq!(failure.code, 999);
    assert!(failure.msg.contains("xx…") && failure.msg.len() < 400, "{failure:?}");
    assert!(failure.details.contains("xx…") && failure.details.len() < 400, "{failure:?}");
}

#[test]
fn a_plugin_that_misbehaves_is_named() {
    for (script, code, fault) in [
        ("exit 1", 6, "no JSON"),
        ("echo oops; exit 1", 6, "oops"),
        ("echo oops", 6, "oops"),
        ("kill -9 $$", 6, "no JSON"),
        ("echo '{}'", 6, "no address"),
        ("exec head -c 2000000 /dev/zero", 6, "longer than"),
        ("while :; do echo yes; done", 6, "longer than"),
    ] {
        let (_folder, plugins) = folder(script);
        let failure = plugins.add("plugin").unwrap_err().failure(crate::Version::V1_1_0);
        assert_eq!(failure.code, code, "{script}: {failure:?}");
        let text = format!("{} {}", failure.msg, failure.details);
        assert!(text.contains("plugin") && text.contains(fault), "{script}: {text}");
    }
}

#[test]
fn a_plugin_that_is_not_there_or_not_executable_is_named() {
    let (folder, plugins) = folder("");
    let missing = plugins.add("other").unwrap_err();
    assert!(missing.code() == 7 && missing.to_string().contains("/nowhere:"), "{missing}");
    fs::set_permissions(folder.path().join("plugin"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(plugins.add("plugin").unwrap_err().code(), 5);
}

#[test]
fn a_plugin_that_hangs_is_killed_and_reaped() {
    let (folder, mut plugins) = folder("sleep 1000 & echo $! > pid; wait");
    plugins.deadline = Duration::from_millis(300);
    let error = plugins.add("plugin").unwrap_err();
    assert_eq!(error.code(), 11, "{error}");
    // The deadline may strike before the script has written anything; then it never will.
    if let Ok(pid) = fs::read_to_string(folder.path().join("pid")) {
        // Of a killed orphan a zombie may be left, until somebody reaps it.
        let state = move || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let dead = |state: String| state.is_empty() || state.contains(") Z ");
        let gone = move || {
            while !dead(state()) {
                pause(Duration::from_millis(5)).unwrap();
            }
        };
        aside(Duration::from_secs(60), gone).unwrap();
    }
}

#[test]
fn a_long_configuration_that_nobody_reads_is_no_deadlock() {
    let (_folder, mut plugins) = folder(r#"echo '{"ips": [{"address": "10.0.0.5/24"}]}'"#);
    plugins.conf = vec![b' '; 1 << 20].into();
    plugins.add("plugin").unwrap();
}
