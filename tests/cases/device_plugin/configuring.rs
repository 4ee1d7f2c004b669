//! Config: checked, reloaded, shown.

use tripod_tests::programs::program;

use super::*;

#[tokio::test]
async fn a_changed_config_is_taken_up_without_touching_other_resources() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    node.add_device("memT0", 5);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let _plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    let memory = "- name: example.com/memory\n    match: {paths: [/dev/memT*]}\n";
    node.configure(&format!("{CONFIG}  {memory}"));
    kubelet.until_allocatable("example.com/memory", 1).await.unwrap();
    node.configure(&CONFIG.replace("ttyT*", "ttyT*, /dev/memT0"));
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    let ended = |view: &View| view.count("example.com/memory", |what| *what == Happening::StreamEnded);
    kubelet.until("the end of example.com/memory", |view| (ended(view) == 1).then_some(())).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1, "{SERIAL} stayed registered all the time");
}

#[tokio::test]
async fn a_config_map_is_followed_through_its_link() {
    let Some(node) = Node::new("") else { return };
    node.add_device("ttyT0", 3);
    // As the kubelet mounts a ConfigMap: the file is a link through `..data`, which is exchanged.
    let mount = node.folder.path().join("mounted");
    let version = |name: &str, text: &str| {
        std::fs::create_dir_all(mount.join(name)).unwrap();
        std::fs::write(mount.join(name).join("device-plugin.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    version("..1", "version: v1\nresources: []\n");
    std::os::unix::fs::symlink("..data/device-plugin.yaml", mount.join("device-plugin.yaml")).unwrap();
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run_with(&mount.join("device-plugin.yaml"));
    plugin.until_logged("answering probes").await;
    version("..2", CONFIG);
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
}

#[tokio::test]
async fn a_changed_config_with_an_error_changes_nothing() {
    let Some(node) = Node::new(CONFIG) else { return };
    node.add_device("ttyT0", 3);
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    kubelet.until_allocatable(SERIAL, 1).await.unwrap();
    node.configure(&CONFIG.replace("match", "mach"));
    plugin.until_logged("the running config stays: ").await;
    assert!(
        plugin.log().contains("device-plugin.yaml:4: resources[0].mach is an unknown key"),
        "{}",
        plugin.log()
    );
    node.add_device("ttyT1", 5);
    kubelet.until_allocatable(SERIAL, 2).await.unwrap();
    assert_eq!(kubelet.look(registrations), 1);
}

#[tokio::test]
async fn a_config_with_an_error_stops_the_start_and_names_file_line_and_key() {
    let Some(node) =
        Node::new("version: v1\nresources:\n- name: a/b\n  cuont: 2\n  match: {paths: [/dev/x]}\n")
    else {
        return;
    };
    let plugin = node.run();
    let log = plugin.log_at_failure().await;
    let place = format!("{}:4: resources[0].cuont is an unknown key", node.config().display());
    assert!(log.contains(&place), "{log}");
}

#[tokio::test]
async fn a_resource_name_given_twice_stops_the_start() {
    let Some(node) =
        Node::new(&format!("{CONFIG}  - name: example.com/serial\n    match: {{paths: [/dev/x]}}\n"))
    else {
        return;
    };
    let log = node.run().log_at_failure().await;
    assert!(
        log.contains(":5: resources[1].name advertises example.com/serial a second time: line 3"),
        "{log}"
    );
}

#[tokio::test]
async fn more_devices_than_the_kubelet_can_be_told_of_are_cut_at_the_start_and_refused_at_a_change() {
    let Some(node) = Node::new(&CONFIG.replace("match:", "count: 60000\n    match:")) else { return };
    for (name, minor) in [("ttyT0", 3), ("ttyT1", 5), ("ttyT2", 7)] {
        node.add_device(name, minor);
    }
    let kubelet = Kubelet::start(node.plugins()).await.unwrap();
    let plugin = node.run();
    plugin.until_logged("1 devices are left out: the list would be too long for the kubelet").await;
    kubelet.until_allocatable(SERIAL, 120_000).await.unwrap();
    // The cut list is no obstacle to a change elsewhere, and a change to it is one that somebody reads.
    let text = CONFIG.replace("match:", "count: 60000\n    match:");
    node.configure(&format!("{text}  - name: example.com/memory\n    match: {{paths: [/dev/memT*]}}\n"));
    plugin.until_logged("the changed config is in force").await;
    node.configure(&CONFIG.replace("match:", "count: 60001\n    match:"));
    plugin
        .until_logged("the running config stays: example.com/serial would list more devices than fit in the")
        .await;
    // It is tried again when there are fewer.
    node.remove_device("ttyT1");
    node.remove_device("ttyT2");
    kubelet.until_allocatable(SERIAL, 60_001).await.unwrap();
}

#[tokio::test]
async fn check_config_reports_every_problem_for_programs_too() {
    let Some(node) = Node::new("version: v1\nresources:\n- name: serial\n  match: {kind: toaster}\n") else {
        return;
    };
    let check = |flags: &[&str]| {
        let output = std::process::Command::new(program("tripod-device-plugin"))
            .args(["check-config", "--config"])
            .arg(node.config())
            .args(flags)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = check(&[]);
    assert_eq!(code, Some(1));
    assert_eq!(text.lines().count(), 2, "{text}");
    let (code, json) = check(&["--json"]);
    let findings: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, findings.as_array().unwrap().len()), (Some(1), 2));
    assert_eq!(findings[1]["severity"], "fail");
    assert_eq!(findings[1]["evidence"], "\"toaster\" is an unknown kind");
    assert!(
        findings[1]["object"].as_str().unwrap().ends_with("device-plugin.yaml:4: resources[0].match.kind")
    );
    node.configure(CONFIG);
    let (code, text) = check(&[]);
    assert_eq!(code, Some(0));
    let size = "example.com/serial: its list takes at least 16 per device of the 4194304 bytes that the kubelet reads";
    assert!(text.lines().nth(1).unwrap().ends_with(size), "{text}");
    node.configure(
        "version: v1\nresources: [{name: example.com/kvm, count: 1000, match: {paths: [/dev/kvm]}}]\n",
    );
    let (_, text) = check(&[]);
    assert!(text.contains("example.com/kvm: its list takes 23000 of the 4194304"), "{text}");
}

#[tokio::test]
async fn discover_prints_what_would_be_offered() {
    let Some(node) = Node::new(&CONFIG.replace("match:", "count: 2\n    match:")) else { return };
    node.add_device("ttyT0", 3);
    let discover = |output: &str| {
        let mut command = std::process::Command::new(program("tripod-device-plugin"));
        command.args(["discover", "--output", output, "--config"]).arg(node.config());
        let output = command.arg("--host-root").arg(node.root()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let document: serde_json::Value = serde_json::from_str(&discover("json")).unwrap();
    let row = |id: &str| {
        serde_json::json!({
            "id": id, "resource": SERIAL, "kind": "path", "vendor": null, "model": null, "numa": null,
            "memory": null, "parent": null, "health": "Healthy", "nodes": ["/dev/ttyT0"], "links": {},
        })
    };
    let expected = serde_json::json!({"version": "v1", "devices": [row("ttyT0::0"), row("ttyT0::1")]});
    assert_eq!(document, expected);
    let table = discover("table");
    assert!(table.starts_with("RESOURCE            ID        KIND"), "{table}");
    assert_eq!(table.lines().count(), 3);
}

#[test]
fn the_log_is_objects_for_programs_or_text_for_people() {
    let Some(node) = Node::new("version: v1\nresources:\n- name: serial\n") else { return };
    let log = |flags: &[&str]| {
        let mut command = std::process::Command::new(program("tripod-device-plugin"));
        let output = command.args(["discover", "--config"]).arg(node.config()).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let is_object = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let (objects, text) = (log(&[]), log(&["--log-format=text"]));
    assert!(!objects.is_empty() && objects.lines().all(is_object), "{objects}");
    assert!(text.contains(" ERROR ") && !text.lines().any(is_object) && !text.contains('\u{1b}'), "{text}");
    assert_eq!(log(&["--log-level=off"]), "");
}
