//! `check-config --kubelet-config` says of a file what the kubelet does: it starts, or it does not.

use serde_json::Value;

use super::keyring::{Wiring, program};
use super::{Node, Ran};

const GOOD: &str = "\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: tripod-credential-provider
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    defaultCacheDuration: 0s
    matchImages: [\"registry.example.com:5000\"]
    tokenAttributes:
      serviceAccountTokenAudience: harbor
      cacheType: Token
      requireServiceAccount: true
      requiredServiceAccountAnnotationKeys: [a.example/key]
      optionalServiceAccountAnnotationKeys: [other]
";

/// What is done to the good file: every `from` becomes `to`.
const CHANGES: [(&str, &str); 55] = [
    ("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1"),
    ("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v2"),
    ("kubelet.config.k8s.io/v1", "config.k8s.io/v1"),
    ("kind: CredentialProviderConfig", "kind: KubeletConfiguration"),
    ("kind: CredentialProviderConfig\n", ""),
    ("kind:", "more: 1\nkind:"),
    ("kind:", "kind: CredentialProviderConfig\nkind:"),
    ("providers:\n", "providers: []\nothers:\n"),
    ("name: tripod-credential-provider", "name: elsewhere/program"),
    ("name: tripod-credential-provider", "name: a program"),
    ("name: tripod-credential-provider", "name: ."),
    ("name: tripod-credential-provider", "name: .."),
    ("name: tripod-credential-provider", "name: 5"),
    ("name: tripod-credential-provider", "name:"),
    ("name: tripod-credential-provider", "name: missing"),
    ("credentialprovider.kubelet.k8s.io/v1", "credentialprovider.kubelet.k8s.io/v1beta1"),
    ("credentialprovider.kubelet.k8s.io/v1", "credentialprovider.kubelet.k8s.io/v3"),
    ("    apiVersion: credentialprovider.kubelet.k8s.io/v1\n", ""),
    ("    defaultCacheDuration: 0s\n", ""),
    ("defaultCacheDuration: 0s", "defaultCacheDuration: 0"),
    ("defaultCacheDuration: 0s", "defaultCacheDuration: \"0\""),
    ("defaultCacheDuration: 0s", "defaultCacheDuration: -1s"),
    ("defaultCacheDuration: 0s", "defaultCacheDuration: 1d"),
    ("defaultCacheDuration: 0s", "defaultCacheDuration: 1h30m0.5s"),
    ("    matchImages: [\"registry.example.com:5000\"]\n", ""),
    ("\"registry.example.com:5000\"", ""),
    ("registry.example.com:5000", "registry.example.com:port"),
    ("registry.example.com:5000", "registry[12].example.com"),
    ("registry.example.com:5000", "registry example.com"),
    ("registry.example.com:5000", "registry.example.com/%zz"),
    ("registry.example.com:5000", "registry.example.com/*"),
    ("registry.example.com:5000", "https://registry.example.com"),
    ("[\"registry.example.com:5000\"]", "registry.example.com:5000"),
    ("matchImages", "matchimages"),
    ("    matchImages", "    args: [1]\n    matchImages"),
    ("    matchImages", "    args: [\"1\"]\n    matchImages"),
    ("    matchImages", "    env: [{name: A, value: b}]\n    matchImages"),
    ("    matchImages", "    env: [{name: A, valeu: b}]\n    matchImages"),
    ("    matchImages", "    env: {A: b}\n    matchImages"),
    ("      serviceAccountTokenAudience: harbor\n", ""),
    ("      cacheType: Token\n", ""),
    ("cacheType: Token", "cacheType: token"),
    ("cacheType: Token", "cacheType: ServiceAccount"),
    ("      requireServiceAccount: true\n", ""),
    ("requireServiceAccount: true", "requireServiceAccount: false"),
    ("requireServiceAccount: true", "requireServiceAccount: \"true\""),
    ("a.example/key", "a/b/key"),
    ("a.example/key", "-key"),
    ("a.example/key", "A.Example/Key_1"),
    ("[a.example/key]", "[a, a]"),
    ("[other]", "[a.example/key]"),
    ("[other]", "[other]\n---\n{{{"),
    ("\n    ", "\n     "),
    ("kind", "\tkind"),
    ("[other]", "[other]\n      # the end"),
];

/// Names and contents.
type Files<'f> = &'f [(&'f str, &'f str)];

fn check(node: &Node, wiring: &Wiring, more: &[&str]) -> Ran {
    let (file, bin_dir) = (wiring.file().display().to_string(), wiring.bin_dir().display().to_string());
    let options = ["check-config", "--json", "--kubelet-config", &file, "--bin-dir", &bin_dir];
    node.run(&[&options, more].concat(), b"")
}

/// What check-config has against the kubelet's file.
fn failures(ran: &Ran) -> Vec<String> {
    let findings: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a list");
    let failed = findings.iter().filter(|one| one["severity"] == "fail");
    failed.map(|one| format!("{} {}: {}", one["check"], one["object"], one["evidence"])).collect()
}

/// Both say of the file, or folder, what is expected.
fn compare(node: &Node, wiring: &Wiring, what: &str) -> bool {
    let (kubelet, ran) = (wiring.refusal(), check(node, wiring, &[]));
    let ours = failures(&ran);
    assert_eq!(ran.success, ours.is_empty());
    assert_eq!(kubelet.is_some(), !ours.is_empty(), "{what}: the kubelet {kubelet:?}, we {ours:#?}");
    kubelet.is_some()
}

#[test]
fn a_file_is_refused_exactly_where_the_kubelet_refuses_it() {
    if program().is_none() {
        return;
    }
    let (node, wiring) = (Node::new(), Wiring::new());
    std::fs::write(wiring.file(), GOOD).unwrap();
    assert!(!compare(&node, &wiring, "the good file"));
    let mut fatal = 0;
    for (from, to) in CHANGES {
        assert!(GOOD.contains(from), "{from:?}");
        std::fs::write(wiring.file(), GOOD.replace(from, to)).unwrap();
        fatal += usize::from(compare(&node, &wiring, &format!("{from:?} -> {to:?}")));
    }
    assert!(fatal > 35, "{fatal} of {} are fatal", CHANGES.len());
}

#[test]
fn folders_and_programs_are_judged_as_by_the_kubelet() {
    if program().is_none() {
        return;
    }
    let node = Node::new();
    let other = GOOD.replace("tripod-credential-provider", "other");
    let cases: [(&str, Files<'_>, bool); 6] = [
        ("one file", &[("a.yaml", GOOD)], false),
        ("nothing", &[("a.txt", GOOD)], true),
        ("the same name twice", &[("a.yaml", GOOD), ("b.json", GOOD)], true),
        ("a program that is missing", &[("a.yaml", GOOD), ("b.yml", &other)], true),
        ("a hidden file is read too", &[(".b.yaml", "nonsense"), ("a.yaml", GOOD)], true),
        ("a file that says nothing", &[("a.yaml", GOOD), ("b.yaml", "")], true),
    ];
    for (what, files, fatal) in cases {
        let wiring = Wiring::new();
        std::fs::create_dir(wiring.file()).unwrap();
        for (name, text) in files {
            std::fs::write(wiring.file().join(name), text).unwrap();
        }
        assert_eq!(compare(&node, &wiring, what), fatal, "{what}");
    }
    let wiring = Wiring::new();
    std::fs::create_dir(wiring.file()).unwrap();
    std::fs::write(wiring.file().join("a.yaml"), GOOD).unwrap();
    std::os::unix::fs::symlink("/nowhere/b.yaml", wiring.file().join("b.yaml")).unwrap();
    assert!(compare(&node, &wiring, "a link to nothing"));
}

#[test]
fn a_program_that_cannot_be_executed_is_fatal_for_both() {
    if program().is_none() {
        return;
    }
    let (node, wiring) = (Node::new(), Wiring::new());
    std::fs::write(wiring.file(), GOOD).unwrap();
    let path = wiring.bin_dir().join("tripod-credential-provider");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    assert!(compare(&node, &wiring, "a link to nothing"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    assert!(compare(&node, &wiring, "no right to execute it"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(compare(&node, &wiring, "a folder"));
    std::fs::remove_dir_all(wiring.bin_dir()).unwrap();
    assert!(compare(&node, &wiring, "no folder of programs"));
}

#[test]
fn releases_differ_in_what_they_know() {
    let (node, wiring) = (Node::new(), Wiring::new());
    std::fs::write(wiring.file(), GOOD).unwrap();
    let said = |release: &str| failures(&check(&node, &wiring, &["--kubelet-version", release])).concat();
    assert!(said("1.32").contains("no field \\\"tokenAttributes\\\""), "{}", said("1.32"));
    assert!(said("1.33").contains("no field \\\"cacheType\\\""), "{}", said("1.33"));
    assert_eq!(said("1.34"), "");
    std::fs::write(wiring.file(), GOOD.replace("      cacheType: Token\n", "")).unwrap();
    assert!(said("1.33").is_empty() && said("1.34").contains("has no cacheType"));
    std::fs::remove_file(wiring.file()).unwrap();
    std::fs::create_dir(wiring.file()).unwrap();
    std::fs::write(wiring.file().join("a.yaml"), GOOD).unwrap();
    assert!(said("1.33").contains("reads a file only") && said("1.34").is_empty());
}

#[test]
fn what_the_two_lists_do_not_share_is_told_with_the_reason() {
    let (node, wiring) = (Node::new(), Wiring::new());
    let warned = |patterns: &str, own: &str| {
        std::fs::write(wiring.file(), GOOD.replace("registry.example.com:5000", patterns)).unwrap();
        node.write("config.yaml", &node.entry(own, "    onError: anonymous\n"));
        let ran = check(&node, &wiring, &[]);
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        let warnings =
            findings.iter().filter(|one| one["severity"] == "warn" && one["check"] == "kubelet-match");
        warnings.map(|one| one["evidence"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warned("*.example.com:5000", "registry.example.com:5000"), "");
    assert_eq!(warned("registry.example.com", "registry.example.com/team/"), "");
    let port = warned("registry.example.com", "registry.example.com:5000");
    assert!(port.contains("ports must be equal") && port.contains("no entry of ours answers for"), "{port}");
    let labels = warned("*.example.com", "a.b.example.com");
    assert!(labels.contains("one part of the name, not several"), "{labels}");
    let path = warned("registry.example.com/team/", "registry.example.com");
    assert!(path.contains("is only for paths that begin with"), "{path}");
}
