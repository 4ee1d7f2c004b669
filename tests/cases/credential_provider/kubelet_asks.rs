//! `explain IMAGE --kubelet-config` says which of the kubelet's entries ask this program about an image.

use serde_json::Value;

use super::keyring::Wiring;
use super::{IMAGE, Node};

const NAME: &str = "tripod-credential-provider";

/// An entry of the kubelet's, with `more` lines.
fn entry(name: &str, patterns: &str, more: &[&str]) -> String {
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "  - name: {name}\n    apiVersion: credentialprovider.kubelet.k8s.io/v1\n    defaultCacheDuration: 0s\n    \
         matchImages: [{patterns}]\n{more}"
    )
}

/// The kubelet's file with these entries.
fn file(entries: &[String]) -> String {
    let entries = entries.concat();
    format!("apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n{entries}")
}

/// Attributes of a token for `audience`, with `more` of them.
fn token(audience: &str, more: &str) -> String {
    format!(
        "tokenAttributes: {{serviceAccountTokenAudience: {audience}, requireServiceAccount: true, {more}}}"
    )
}

/// A node and its kubelet.
struct Site {
    node: Node,
    wiring: Wiring,
}

impl Site {
    fn new() -> Self {
        Self { node: Node::new(), wiring: Wiring::new() }
    }

    /// The argument that leads to the node's own configuration.
    fn args(&self) -> String {
        format!("args: [\"--config\", \"{}\"]", self.node.path("config.yaml").display())
    }

    /// Asks about `IMAGE` where the kubelet has `entries`: "severity check: evidence -> fix" of each finding.
    fn explain(&self, entries: &[String], more: &[&str]) -> (bool, Vec<String>) {
        std::fs::write(self.wiring.file(), file(entries)).expect("the kubelet's file");
        let path = self.wiring.file().display().to_string();
        let ran =
            self.node.run(&[&["explain", IMAGE, "--json", "--kubelet-config", &path], more].concat(), b"");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a JSON list");
        let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
        let line = |one: &Value| {
            let [severity, check, evidence, fix] =
                ["severity", "check", "evidence", "fix"].map(|name| text(one, name));
            assert_eq!(severity == "ok", fix.is_empty(), "a fix exactly where one is needed: {one}");
            format!("{severity} {check}: {evidence} -> {fix}")
        };
        (ran.success, findings.iter().map(line).collect())
    }
}

fn assert_told(told: &[String], begin: &str, piece: &str) {
    let is_it = |line: &String| line.starts_with(begin) && line.contains(piece);
    assert!(told.iter().any(is_it), "no {begin:?} with {piece:?} in {told:#?}");
}

#[test]
fn each_entry_is_told_before_what_ours_says() {
    let site = Site::new();
    let entries = [
        entry("other", "\"*.example.com:5000\"", &[]),
        entry(NAME, "\"registry.example.com:5000\"", &[&site.args()]),
        entry(&format!("{NAME}-b"), "\"gcr.io\", \"*.pkg.dev\"", &[]),
    ];
    let (success, told) = site.explain(&entries, &[]);
    assert!(success, "{told:#?}");
    let at = |piece: &str| {
        told.iter().position(|line| line.contains(piece)).unwrap_or_else(|| panic!("{piece}: {told:#?}"))
    };
    let order = [
        at("the kubelet asks for"),
        at("a kubelet 1.37 takes its 3 entries"),
        at("\"other\" matches by \"*.example.com:5000\" and starts another program than this"),
        at("matches by \"registry.example.com:5000\" and starts this program with args [\"--config\", "),
        at("-b\" does not match: none of its 2 matchImages is for registry.example.com:5000"),
        at("registries[0] is the first to match"),
    ];
    assert!(order.is_sorted(), "{told:#?}");
    let ran = site
        .node
        .run(&["explain", IMAGE, "--kubelet-config", &site.wiring.file().display().to_string()], b"");
    assert!(ran.success && ran.stdout.contains("ok    kubelet-match   "), "{ran:?}");
}

#[test]
fn an_image_about_which_nobody_asks_us_is_a_failure_with_the_reason_and_the_remedy() {
    let site = Site::new();
    for (pattern, reason) in [
        ("registry.example.com", "\"registry.example.com\" has another port, and ports must be equal"),
        ("registry.example.com:5000/other/", "is only for paths that begin with \"/other/\""),
        ("*.com:5000", "the \"*\" is one part of the name, not several"),
        ("registry.example.com:5000/*", "a glob in the path can never match"),
        ("gcr.io", "none of its 1 matchImages is for registry.example.com:5000"),
    ] {
        let (success, told) = site.explain(&[entry(NAME, &format!("\"{pattern}\""), &[&site.args()])], &[]);
        assert!(!success);
        assert_told(&told, "ok kubelet-match", reason);
        assert_told(&told, "fail kubelet-match", "put \"registry.example.com:5000\" into matchImages");
        assert_told(&told, "ok entry", "registries[0] is the first to match");
    }
    let (success, told) = site.explain(&[entry("other", "\"registry.example.com:5000\"", &[])], &[]);
    assert!(!success);
    assert_told(&told, "fail kubelet-match", "no entry has this program asked about");
}

#[test]
fn a_link_to_this_program_is_this_program() {
    let site = Site::new();
    let path = site.wiring.bin_dir().join("registry-login");
    std::os::unix::fs::symlink(site.wiring.bin_dir().join(NAME), path).unwrap();
    let entries = [entry("registry-login", "\"*.example.com:5000\"", &[&site.args()])];
    assert!(!site.explain(&entries, &[]).0);
    let (success, told) =
        site.explain(&entries, &["--bin-dir", &site.wiring.bin_dir().display().to_string()]);
    assert!(success);
    assert_told(
        &told,
        "ok kubelet-match",
        "\"registry-login\" matches by \"*.example.com:5000\" and starts this",
    );
}

#[test]
fn what_the_program_is_started_with_is_looked_at() {
    let site = Site::new();
    let explain = |args: &str| site.explain(&[entry(NAME, "\"registry.example.com:5000\"", &[args])], &[]);
    let (success, told) = explain("args: [--config=/elsewhere.yaml]");
    assert!(success, "{told:#?}");
    assert_told(&told, "warn kubelet-match", "answered by \"/elsewhere.yaml\"");
    assert_told(&told, "warn kubelet-match", "explain it with --config /elsewhere.yaml");
    assert_told(&explain("args: []").1, "warn", "answered by \"/etc/tripod/credential-provider.yaml\"");
    for (args, said) in [
        ("args: [--conf, x]", "refuses args [\"--conf\", \"x\"]: argument \"--conf\" is not known"),
        ("args: [doctor]", "does not answer the kubelet"),
    ] {
        let (success, told) = explain(args);
        assert!(!success);
        assert_told(&told, "fail kubelet-match", said);
    }
}

#[test]
fn the_pods_token_has_to_be_the_one_that_the_registry_takes() {
    let site = Site::new();
    let harbor = "version: v1\nregistries:\n  - {match: [\"registry.example.com:5000\"], provider: harbor, tokenAudience: harbor}\n";
    site.node.write("config.yaml", harbor);
    let with = |lines: &[&str]| {
        entry(NAME, "\"registry.example.com:5000\"", &[&[site.args().as_str()], lines].concat())
    };
    let good = token("harbor", "cacheType: Token, requiredServiceAccountAnnotationKeys: [a.example/b]");
    let (_, told) = site.explain(&[with(&[&good])], &[]);
    assert_told(
        &told,
        "ok kubelet-match",
        "with a pod's token for \"harbor\" (cacheType Token), not for pods without",
    );
    assert_told(&told, "ok kubelet-match", "only if it has the annotations a.example/b");
    assert!(
        !told.iter().any(|line| line.starts_with("fail kubelet") || line.starts_with("warn")),
        "{told:#?}"
    );
    let elsewhere = token("other", "cacheType: Token");
    for (lines, said) in [
        (&[][..], "it passes no pod's token, and one for \"harbor\" is needed"),
        (&[elsewhere.as_str()], "it passes a token for \"other\", and one for \"harbor\" is needed"),
        (
            &[&token("harbor", "cacheType: ServiceAccount")],
            "refuses with cacheType ServiceAccount -> write cacheType: Token",
        ),
    ] {
        let (success, told) = site.explain(&[with(lines)], &[]);
        assert!(!success);
        assert_told(&told, "fail kubelet-match", said);
    }
    let second = entry(&format!("{NAME}-b"), "\"*.example.com:5000\"", &[&site.args(), &good]);
    let (_, told) = site.explain(&[with(&[]), second.clone()], &[]);
    assert_told(&told, "warn kubelet-match", "it passes no pod's token");
    // {"sub":"x"}
    site.node.write("token", "e30.eyJzdWIiOiJ4In0.c2ln");
    let asker = ["--token", &site.node.path("token").display().to_string()];
    let (success, told) = site.explain(std::slice::from_ref(&second), &asker);
    assert!(!success);
    assert_told(
        &told,
        "fail kubelet-match",
        "it is not asked: the service account has no annotation \"a.example/b\"",
    );
    let (_, told) = site.explain(&[second], &[&asker[..], &["--annotation", "a.example/b=c"]].concat());
    assert!(!told.iter().any(|line| line.contains("it is not asked")), "{told:#?}");
}

#[test]
fn a_file_that_the_kubelet_refuses_is_told() {
    let site = Site::new();
    let entries = [entry(NAME, "\"registry.example.com:5000\"", &[&site.args(), "more: 1"])];
    let (success, told) = site.explain(&entries, &[]);
    assert!(!success);
    assert_told(&told, "fail kubelet-config", "the entry has no field \"more\"");
    let path = site.node.path("config.yaml").display().to_string();
    let ran = site.node.run(&["explain", IMAGE, "--kubelet-config", &format!("{path}.none")], b"");
    assert!(!ran.success && ran.stdout.contains("No such file or directory"), "{ran:?}");
}
