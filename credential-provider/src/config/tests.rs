use std::path::Path;

use super::{Config, Policy};
use crate::claim;
use crate::error::chain;
use crate::image::ImageRef;
use crate::provider::Source;
use crate::provider::docker_config::Settings;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/c.yaml"), text.as_bytes()).map_err(|error| chain(&error))
}

/// A file whose first entry, from line 3 on, is `lines`.
fn with_entry(lines: &[&str]) -> String {
    format!("version: v1\nregistries:\n  - {}\n", lines.join("\n    "))
}

const MATCH: &str = "match: [a.io]";
const PROVIDER: &str = "provider: docker-config";
const FILE: &str = "file: /f";

#[test]
fn a_file_is_read_with_its_defaults() {
    let second = "  - match: [b.io]\n    provider: docker-config\n    file: /g\n    onError: anonymous\n";
    let config = parse(&(with_entry(&[MATCH, PROVIDER, FILE]) + second)).unwrap();
    let entries: Vec<_> = config.registries.iter().map(|r| (r.line, r.on_error, &r.source)).collect();
    let source = |file: &str| Source::DockerConfig(Settings { file: file.into(), helper_dir: None });
    assert_eq!(entries, [(3, Policy::Fail, &source("/f")), (6, Policy::Anonymous, &source("/g"))]);
    assert!(parse("version: v1\nregistries: []").is_ok(), "a node may have no private registry");
}

#[test]
fn two_identities_that_want_different_tokens_are_refused() {
    let with = |identity: &str| parse(&with_entry(&[MATCH, "provider: ecr", identity])).map(drop);
    let expected = "/c.yaml:3: registries[0].identity: expected one of service-account and pod-identity: \
                    they want tokens for different audiences";
    for identity in ["[service-account, pod-identity]", "[pod-identity, imds, service-account]"] {
        assert_eq!(with(&format!("identity: {identity}")), Err(expected.to_owned()));
    }
    assert_eq!(with("identity: [pod-identity, imds]"), Ok(()));
}

#[test]
fn off_is_a_word() {
    let config = parse("version: v1\ncache: {mode: off}\nregistries: []\n").unwrap();
    assert!(!config.cache.shared);
    assert!(parse("version: v1\ncache: {mode: false}\nregistries: []\n").is_err());
}

#[test]
fn the_first_entry_that_matches_answers() {
    let text = "version: v1\nregistries:\n\
        - {match: [a.io/team/], provider: docker-config, file: /1}\n\
        - {match: [\"*.io\"], provider: docker-config, file: /2}\n\
        - {match: [a.io], provider: docker-config, file: /3}\n";
    let config = parse(text).unwrap();
    let index = |image: &str| claim::find(&config, &ImageRef::parse(image).unwrap()).map(|claim| claim.index);
    assert_eq!(
        [index("a.io/team/x"), index("a.io/x"), index("b.io/x"), index("b.a.io/x")],
        [Some(0), Some(1), Some(1), None]
    );
    let uniform = |image: &str| config.is_uniform_for(&ImageRef::parse(image).unwrap());
    assert!(!uniform("a.io/x"), "another entry has part of this registry");
    assert!(uniform("b.io/x"));
}

#[test]
fn a_value_that_means_nothing_is_named_with_line_and_key() {
    let no_match =
        "3: registries[0].match: no registry is named; write at least one, such as \"registry.example.com\"";
    for (lines, expected) in [
        (&["match: []", PROVIDER, FILE][..], no_match),
        (&[PROVIDER, FILE], no_match),
        (
            &["match:", "  - a.io", "  - a.io/*", PROVIDER, FILE],
            "5: registries[0].match: pattern \"a.io/*\": \
             a glob in the path can never match: the path is a plain prefix; leave '*' out",
        ),
        (
            &[MATCH, FILE],
            "3: registries[0].provider: it is missing; name the kind of registry, such as \"ecr\" or \"docker-config\"",
        ),
        (
            &[MATCH, "provider: npm"],
            "4: registries[0].provider: \"npm\" is not known; write \"ecr\" or \"ecr-public\" or \"acr\" or \"gcp\" or \"ocir\" or \"harbor\" or \"quay\" or \"jfrog\" or \"cloudsmith\" or \"vault\" or \"oidc\" or \"docker-config\" or \"docker-helper\" or \"kubelet-plugin\"",
        ),
        (
            &[MATCH, PROVIDER],
            "3: registries[0].file: it is missing; provider \"docker-config\" needs the path of a Docker config.json",
        ),
        (
            &[MATCH, PROVIDER, "file: f.json"],
            "5: registries[0].file: \"f.json\" is not an absolute path; begin it with \"/\"",
        ),
        (
            &[MATCH, PROVIDER, "file: 012.5"],
            "5: registries[0].file: expected a text; put a number into quotation marks",
        ),
        (
            &[MATCH, PROVIDER, FILE, "onError: ignore"],
            "6: registries[0].onError: \"ignore\" is not known; write \"fail\" or \"anonymous\"",
        ),
        (
            &[MATCH, PROVIDER, FILE, "tokenAudience: a"],
            "6: registries[0].tokenAudience: \"a\": the entry passes no pod's token on, so nothing would read it; \
             leave the key out",
        ),
    ] {
        assert_eq!(parse(&with_entry(lines)).map(drop), Err(format!("/c.yaml:{expected}")), "{lines:?}");
    }
    let version = "/c.yaml:1: version: \"v2\" is not known; this program reads \"v1\"";
    assert_eq!(parse("version: v2\nregistries: []\n").map(drop), Err(version.into()));
}

#[test]
fn another_shape_is_named_with_line_and_key() {
    for (text, expected) in [
        ("versoin: v1\n", "1: unknown key \"versoin\"; known here are version, defaults, cache, registries"),
        ("registries: []\n", "1: key \"version\" is missing"),
        ("", "1: unexpected end of file"),
        (
            &with_entry(&[MATCH, PROVIDER, "fiel: /f"]),
            "3: registries[0].file: it is missing; provider \"docker-config\" needs the path of a Docker config.json",
        ),
        (
            &with_entry(&[MATCH, PROVIDER, FILE, "fiel: /f"]),
            "6: registries[0].fiel: unknown key; provider \"docker-config\" has match, provider, onError, \
             onMissingIdentity, mirrorOf, tokenAudience, file, helperDir",
        ),
        (&with_entry(&[MATCH, PROVIDER, FILE, FILE]), "6: duplicate mapping key: file not allowed here"),
    ] {
        assert_eq!(parse(text).map(drop), Err(format!("/c.yaml:{expected}")), "{text}");
    }
}

#[test]
fn values_of_a_wrong_type_are_not_repeated() {
    for text in [
        "version: v1\nregistries: hunter2\n",
        "hunter2\n",
        "version: [hunter2]\nregistries: []\n",
        "version: v1\nregistries:\n  - match: {a: hunter2}\n",
        "a: hunter2: b\n",
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with("/c.yaml:") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_hostile_file_is_refused() {
    let aliases: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
    for text in ["[".repeat(200_000), "{a: ".repeat(200_000), format!("a0: &a0 x\n{aliases}")] {
        assert!(parse(&text).is_err());
    }
    assert!(Config::parse(Path::new("/c.yaml"), b"\xff\xfe\xff").is_err());
}
