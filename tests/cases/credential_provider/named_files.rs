//! `check-config` looks at the files that the configuration names.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tripod_tests::apiserver::Authority;

use super::{Node, PASSWORD};

const ACR: &str = "provider: acr, tenantId: t, clientId: c";

impl Node {
    /// A file with this mode; its path.
    fn file(&self, name: &str, content: &str, mode: u32) -> String {
        self.write(name, content);
        set_mode(&self.path(name), mode);
        self.path(name).display().to_string()
    }

    /// The configuration, with these lines of `defaults` and one entry.
    fn configure_one(&self, defaults: &str, entry: &str) {
        let text = format!(
            "version: v1\ndefaults: {{{defaults}}}\nregistries:\n  - {{match: [a.azurecr.io], {entry}}}\n"
        );
        self.file("config.yaml", &text, 0o600);
    }

    /// What check-config says: "severity check object: evidence -> fix" of each finding.
    fn check_config(&self) -> Vec<String> {
        let ran = self.run(&["check-config", "--json"], b"");
        assert!(!ran.stdout.contains(PASSWORD) && ran.stderr.is_empty(), "{ran:?}");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a JSON list");
        let line = |one: &Value| {
            let text = |name: &str| one[name].as_str().expect("a text");
            assert_eq!(text("severity") == "ok", text("fix").is_empty(), "{one}");
            let [severity, check, object] = ["severity", "check", "object"].map(text);
            format!("{severity} {check} {object}: {} -> {}", text("evidence"), text("fix"))
        };
        let lines: Vec<_> = findings.iter().map(line).collect();
        assert_eq!(ran.success, !lines.iter().any(|line| line.starts_with("fail")), "{lines:#?}");
        lines
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

fn assert_told(told: &[String], line: &str) {
    assert!(told.iter().any(|one| one.starts_with(line)), "no {line:?} in {told:#?}");
}

/// Every entry that names a file with a secret: what stands before the path, and the path's key.
fn entries() -> Vec<(String, &'static str)> {
    let mut entries = vec![
        (format!("{ACR}, identity: [client-secret]"), "clientSecretFile"),
        (format!("{ACR}, identity: [service-account, federated]"), "tokenFile"),
    ];
    for provider in [
        "harbor",
        "quay, robot: r, url: \"https://q.example.com\"",
        "jfrog, integration: i, url: \"https://j.example.com\"",
        "vault, role: r, path: p, url: \"https://v.example.com\"",
    ] {
        entries.push((format!("provider: {provider}"), "tokenFile"));
    }
    entries
}

#[test]
fn a_secret_is_there_says_something_and_is_shown_to_nobody() {
    let node = Node::new();
    for (entry, key) in entries() {
        let file = node.file("secret", PASSWORD, 0o600);
        let configure = |path: &str| node.configure_one("", &format!("{entry}, {key}: {path}"));
        configure(&file);
        assert_told(&node.check_config(), &format!("ok file {file}: it can be read, by its owner only"));
        for (mode, said) in
            [(0o640, "read it, and it holds a secret -> chmod 0600"), (0o602, "write it -> chmod go-w")]
        {
            set_mode(&node.path("secret"), mode);
            let line = format!("warn file {file}: mode {mode:04o} lets others than its owner {said} {file}");
            assert_told(&node.check_config(), &line);
        }
        node.file("secret", " \n", 0o600);
        assert_told(&node.check_config(), &format!("fail file {file}: it is empty -> "));
        for (path, said) in [
            ("/nowhere/secret", "cannot open \"/nowhere/secret\": No such file or directory"),
            ("/dev", "\"/dev\" is a folder, not a regular file"),
        ] {
            configure(path);
            assert_told(&node.check_config(), &format!("fail file {path}: {said}"));
        }
        node.configure_one("", &format!("{entry}, {key}: /nowhere, onError: anonymous"));
        assert_told(&node.check_config(), "warn file /nowhere: ");
    }
}

#[test]
fn nobody_waits_for_a_pipe() {
    let node = Node::new();
    let pipe = node.path("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    node.configure_one(&format!("caFile: {pipe}"), &format!("provider: harbor, tokenFile: {pipe}"));
    let said = format!("{pipe:?} is a device, pipe or socket, not a regular file");
    let told = node.check_config();
    assert_eq!(told.iter().filter(|line| line.contains(&said)).count(), 2, "{told:#?}");
}

#[test]
fn a_file_that_no_identity_reads_is_not_asked_for() {
    let node = Node::new();
    node.configure_one("", &format!("{ACR}, clientSecretFile: /nowhere"));
    assert!(!node.check_config().concat().contains("/nowhere"));
}

#[test]
fn oracles_file_is_followed_to_its_key() {
    let node = Node::new();
    let key = node.file("key.pem", PASSWORD, 0o644);
    let profile = |key: &str| format!("[PULL]\nuser=u\nfingerprint=f\ntenancy=t\nkey_file={key}\n");
    let file = node.file("oci", &profile(&key), 0o644);
    let entry = format!("provider: ocir, identity: [user], profile: PULL, configFile: {file}");
    node.configure_one("", &entry);
    let told = node.check_config();
    assert_told(&told, &format!("ok file {file}: it can be read -> "));
    assert_told(&told, &format!("warn file {key}: mode 0644 lets others than its owner read it"));
    for (text, said) in [
        (profile("/nowhere"), "fail file /nowhere: cannot open"),
        (
            profile("~/key.pem"),
            &format!(
                "fail file {}:4: profile PULL of {file:?} has no key_file",
                node.path("config.yaml").display()
            ),
        ),
        (String::new(), &format!("fail file {}:4: profile PULL", node.path("config.yaml").display())),
    ] {
        node.file("oci", &text, 0o600);
        assert_told(&node.check_config(), said);
    }
    std::fs::remove_file(&file).unwrap();
    assert_told(
        &node.check_config(),
        &format!("fail file {}:4: cannot open", node.path("config.yaml").display()),
    );
}

#[test]
fn authorities_are_certificates() {
    let node = Node::new();
    let harbor = "provider: harbor";
    let file = node.file("ca.pem", Authority::default().certificate(), 0o644);
    node.configure_one(&format!("caFile: {file}"), harbor);
    assert_told(&node.check_config(), &format!("ok file {file}: 1 certificates of authorities"));
    set_mode(&node.path("ca.pem"), 0o666);
    assert_told(
        &node.check_config(),
        &format!("warn file {file}: mode 0666 lets others than its owner write it"),
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, said) in [
        ("", "holds no PEM certificate"),
        (PASSWORD, "holds no PEM certificate"),
        (broken, "certificate 1 of"),
    ] {
        node.file("ca.pem", text, 0o644);
        let told = node.check_config();
        assert!(
            told.iter().any(|line| line.starts_with(&format!("fail file {file}: ")) && line.contains(said)),
            "{told:#?}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let told = node.check_config();
    assert!(told.iter().any(|line| line.contains("No such file or directory")), "{told:#?}");
}

#[test]
fn a_configuration_that_holds_a_secret_is_one() {
    let node = Node::new();
    let main = node.path("config.yaml");
    let proxy = format!("proxy: \"http://user:{PASSWORD}@proxy:3128\"");
    node.configure_one(&proxy, "provider: harbor");
    let read = |path: &Path, what: &str| {
        let path = path.display();
        format!(
            "warn config {path}: mode 0644 lets others than its owner read it, and it holds {what} -> chmod 0600 {path}"
        )
    };
    assert!(!node.check_config().concat().contains("lets others"), "mode 0600");
    set_mode(&main, 0o644);
    assert_told(&node.check_config(), &read(&main, "the proxy's password"));
    node.configure_one("proxy: \"http://proxy:3128\"", "provider: harbor");
    set_mode(&main, 0o644);
    assert!(!node.check_config().concat().contains("lets others"), "there is no password");

    std::fs::create_dir(node.path("config.d")).unwrap();
    let part = |variable: &str, mode: u32| {
        let helper = format!("provider: docker-helper, program: /bin/true, env: {{{variable}: {PASSWORD}}}");
        node.file(
            "config.d/x.yaml",
            &format!("version: v1\nregistries: [{{match: [b.io], {helper}}}]\n"),
            mode,
        );
        node.check_config()
    };
    let path = node.path("config.d/x.yaml");
    assert_told(&part("API_TOKEN", 0o644), &read(&path, "env API_TOKEN"));
    assert!(!part("API_TOKEN", 0o600).concat().contains("lets others"));
    assert!(!part("API_TOKEN_FILE", 0o644).concat().contains("lets others"));
    assert_told(
        &part("HOME", 0o664),
        &format!("warn config {}: mode 0664 lets others than its owner write", path.display()),
    );
}
