//! What an admin runs at three in the morning.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tripod_credential_provider::Environment;
use tripod_credential_provider::provider::Variables;
use tripod_tests::programs;

use super::{IMAGE, Node, PASSWORD, USER, login, run};

/// The findings of `arguments`, as (check, severity, evidence).
fn findings(node: &Node, arguments: &[&str]) -> (bool, Vec<[String; 3]>) {
    let ran = node.run(arguments, b"");
    assert!(ran.stderr.is_empty() && !ran.stdout.contains(PASSWORD) && !ran.stdout.contains(USER), "{ran:?}");
    let list: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a JSON list");
    for finding in &list {
        let keys: Vec<_> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["check", "severity", "object", "evidence", "fix"]);
        assert_eq!(
            finding["severity"] == "ok",
            finding["fix"] == "",
            "a remedy exactly where one is needed: {finding}"
        );
    }
    let column = |finding: &Value, name: &str| finding[name].as_str().expect("a string").to_owned();
    (
        ran.success,
        list.iter().map(|f| ["check", "severity", "evidence"].map(|name| column(f, name))).collect(),
    )
}

fn assert_finding(found: &[[String; 3]], check: &str, severity: &str, piece: &str) {
    let is_it = |[c, s, evidence]: &[String; 3]| c == check && s == severity && evidence.contains(piece);
    assert!(found.iter().any(is_it), "no {severity} of {check} with {piece:?} in {found:#?}");
}

#[test]
fn check_config_is_content_with_a_good_configuration() {
    let node = Node::new();
    std::fs::set_permissions(node.path("auth.json"), PermissionsExt::from_mode(0o600)).unwrap();
    let (success, found) = findings(&node, &["check-config", "--json"]);
    assert!(success && found.iter().all(|[_, severity, _]| severity == "ok"), "{found:#?}");
    let ran = node.run(&["check-config"], b"");
    assert!(ran.success && ran.stdout.starts_with("ok    config  "), "{ran:?}");
}

#[test]
fn check_config_finds_what_would_fail_later() {
    let node = Node::new();
    std::fs::set_permissions(node.path("auth.json"), PermissionsExt::from_mode(0o666)).unwrap();
    let more = format!(
        "  - match: [\"registry.example.com:5000\", \"registry.example.com/team\"]\n    provider: docker-config\n    file: {}\n  \
         - match: [\"*.example.com\"]\n    provider: docker-config\n    file: /nowhere/auth.json\n",
        node.path("auth.json").display()
    );
    node.write("config.yaml", &node.entry("registry.example.com:5000", &more));
    let auths = json!({"auths": {
        "registry.example.com:5000": login(USER, PASSWORD),
        "token.example.com": {"identitytoken": PASSWORD},
        "not a registry": {},
    }});
    node.write("auth.json", &auths.to_string());
    let (success, found) = findings(&node, &["check-config", "--json"]);
    assert!(!success);
    assert_finding(&found, "config", "ok", "3 registries");
    assert_finding(&found, "match", "warn", "stands in an earlier entry");
    assert_finding(&found, "match", "warn", "also matches \"registry.example.com/team-other\"");
    assert_finding(&found, "file", "warn", "lets others than its owner read");
    assert_finding(&found, "file", "warn", "lets others than its owner write");
    assert_finding(&found, "file", "fail", "No such file or directory");
    assert_finding(&found, "auths", "warn", "1 auths keys name no registry");
    assert_finding(&found, "auths", "warn", "\"token.example.com\": \"identitytoken\" is not supported");
    assert_finding(&found, "credentials", "fail", "for pattern \"registry.example.com/team\"");
}

#[test]
fn what_an_entry_puts_up_with_is_a_warning() {
    let node = Node::new();
    node.write("config.yaml", &node.entry("registry.example.com:5000", "    onError: anonymous\n"));
    std::fs::remove_file(node.path("auth.json")).unwrap();
    let (success, found) = findings(&node, &["check-config", "--json"]);
    assert!(success);
    assert_finding(&found, "file", "warn", "No such file or directory");
    let (success, found) = findings(&node, &["explain", IMAGE, "--json"]);
    assert!(success);
    assert_finding(&found, "credentials", "warn", "answered without credentials");
}

#[test]
fn check_config_lists_every_mistake_with_its_line() {
    let node = Node::new();
    node.write("config.yaml", &node.entry("https://registry.example.com", "    onError: never\n"));
    let (success, found) = findings(&node, &["check-config", "--json"]);
    assert!(!success && found.len() == 2, "{found:#?}");
    assert_finding(&found, "config", "fail", "registries[0].match: pattern \"https://registry.example.com\"");
    assert_finding(&found, "config", "fail", "registries[0].onError: \"never\"");
    node.write("config.yaml", "version: v1\nregistries: []\n");
    let (success, found) = findings(&node, &["check-config", "--json"]);
    assert!(success);
    assert_finding(&found, "config", "warn", "no registries");
}

#[test]
fn a_mistake_in_a_part_is_told_under_its_own_name_and_line() {
    let node = Node::new();
    std::fs::create_dir(node.path("config.d")).unwrap();
    let part = node.path("config.d/x.yaml").display().to_string();
    let objects = |text: &str| {
        node.write("config.d/x.yaml", text);
        let ran = node.run(&["check-config", "--json"], b"");
        let list: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a JSON list");
        let failed = list.iter().filter(|finding| finding["severity"] == "fail");
        failed.map(|finding| finding["object"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let head = "version: v1\nregistries:\n";
    let two = format!("{head}- match: [a/*]\n  provider: npm\n");
    assert_eq!(objects(&two), [format!("{part}:3"), format!("{part}:4")]);
    assert!(
        node.ask(IMAGE).complaint().contains(&format!("{part}:3: registries[0].match")),
        "for the kubelet"
    );
    assert_eq!(objects(&format!("{head}more: 1\n")), [format!("{part}:3")], "no key of the format");
    let absent = format!("{head}- {{match: [b.io], provider: docker-config, file: /nowhere}}\n");
    assert_eq!(objects(&absent), ["/nowhere"]);
    assert!(
        node.ask("b.io/app").complaint().contains(&format!("by {part}:3: cannot open")),
        "the entry is named"
    );
}

#[test]
fn explain_names_entry_key_and_file_and_no_secret() {
    let node = Node::new();
    let (success, found) = findings(&node, &["explain", "registry.example.com:5000/team/app:1.2", "--json"]);
    assert!(success);
    assert_finding(&found, "image", "ok", &format!("the kubelet asks for {IMAGE}"));
    assert_finding(
        &found,
        "entry",
        "ok",
        "registries[0] is the first to match, by \"registry.example.com:5000\"",
    );
    assert_finding(
        &found,
        "would",
        "ok",
        &format!("take auths key \"registry.example.com:5000\" of {:?}", node.path("auth.json")),
    );
    assert_finding(&found, "cache", "ok", "fetched anew at each run");
    let (success, found) = findings(&node, &["explain", "nginx", "--json"]);
    assert!(!success);
    assert_finding(&found, "image", "ok", "docker.io/library/nginx");
    assert_finding(&found, "entry", "fail", "no match list has it");
}

#[test]
fn the_kubelets_configuration_comes_with_its_flags() {
    let node = Node::new();
    let ran = node.run(&["kubelet-config", "--bin-dir", "/opt/providers"], b"");
    assert!(ran.success && ran.stderr.is_empty());
    for piece in [
        "--image-credential-provider-config=",
        "--image-credential-provider-bin-dir=/opt/providers",
        "- name: tripod-credential-provider",
        "- \"registry.example.com:5000\"",
        &format!("args: [\"--config\", {:?}]", node.path("config.yaml")),
    ] {
        assert!(ran.stdout.contains(piece), "{piece:?} is not in {}", ran.stdout);
    }
    let program = programs::program("tripod-credential-provider");
    let own_folder = node.run(&["kubelet-config"], b"").stdout;
    assert!(
        own_folder.contains(&format!("bin-dir={}\n", program.parent().unwrap().display())),
        "{own_folder}"
    );
    // The kubelet's current folder is another than the admin's.
    let mut command = Command::new(program);
    command.args(["kubelet-config", "--config", "config.yaml", "--bin-dir", "bin"]);
    command.current_dir(node.path(""));
    let relative = run(command, b"").stdout;
    for piece in [
        format!("args: [\"--config\", {:?}]", node.path("config.yaml")),
        format!("bin-dir={}\n", node.path("bin").display()),
    ] {
        assert!(relative.contains(&piece), "{piece:?} is not in {relative}");
    }
    node.write("config.yaml", "version: v1\nregistries: []\n");
    assert!(node.run(&["kubelet-config"], b"").complaint().contains("has no registries"));
}

#[test]
fn help_teaches_and_needs_nothing() {
    let mut command = Command::new(programs::program("tripod-credential-provider"));
    command.arg("--help");
    let ran = run(command, b"");
    assert!(ran.success && ran.stderr.is_empty());
    for piece in [
        "check-config",
        "explain IMAGE",
        "kubelet-config",
        "match:",
        "onError",
        "/etc/tripod/credential-provider.yaml",
    ] {
        assert!(ran.stdout.contains(piece), "{piece:?} is not in the help");
    }
}

#[test]
fn a_person_at_the_terminal_is_told_what_this_is() {
    let outcome = tripod_credential_provider::run(Environment {
        arguments: Vec::new(),
        stdin: &mut std::io::empty(),
        stdin_is_terminal: true,
        folder: PathBuf::new(),
        start: Instant::now(),
        variables: Variables::default(),
    });
    assert!(!outcome.success && outcome.stderr.ends_with("this is a terminal; see --help"), "{outcome:?}");
}

#[test]
fn the_program_brings_no_client_it_does_not_use() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(programs::workspace()).args([
        "tree",
        "--locked",
        "-p",
        "tripod-credential-provider",
        "-e",
        "normal",
    ]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    // The signer of AWS names tokio, of which the linker keeps nothing.
    for crate_name in ["tonic ", "hyper ", "reqwest ", "clap ", "aws-sdk", "aws-config "] {
        assert!(!tree.contains(crate_name), "{crate_name}is in\n{tree}");
    }
    let own = tree.lines().filter(|line| line.contains("tripod-")).count();
    assert_eq!(own, 1, "it stands alone:\n{tree}");
}
