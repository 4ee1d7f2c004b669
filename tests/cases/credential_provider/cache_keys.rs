//! Whatever decides whose credentials they are is in the name under which they are kept, and nothing else.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Node, Variables};

/// A `match` line, and an image that it matches.
type Place = (&'static str, &'static str);

const AMAZON: Place =
    ("match: [\"*.dkr.ecr.*.amazonaws.com\"]", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app");
const AZURE: Place = ("match: [\"*.azurecr.io\"]", "team.azurecr.io/app");
const GOOGLE: Place = ("match: [gcr.io]", "gcr.io/project/app");
const ORACLE: Place = ("match: [\"*.ocir.io\"]", "fra.ocir.io/namespace/app");
const ANY: Place = ("match: [registry.example.com]", "registry.example.com/app");

const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const POOL: &str = "audience: //iam.googleapis.com/projects/1";

impl Node {
    /// The name under which the credentials of the place are kept; none where they are not.
    fn key(&self, variables: Variables<'_>, place: Place, lines: &[&str]) -> Option<String> {
        self.key_with(&[], variables, place, lines)
    }

    /// The same where the kubelet passes a token.
    fn key_of_pod(&self, token: &str, place: Place, lines: &[&str]) -> Option<String> {
        self.write("pod-token", token);
        let file = self.path("pod-token").display().to_string();
        self.key_with(&["--token", &file], &[], place, lines)
    }

    fn key_with(
        &self,
        options: &[&str],
        variables: Variables<'_>,
        (pattern, image): Place,
        lines: &[&str],
    ) -> Option<String> {
        let lines = [&[pattern], lines].concat().join("\n    ");
        self.write("config.yaml", &format!("version: v1\nregistries:\n  - {lines}\n"));
        let ran = self.run_with(variables, &[&["explain", image, "--json"], options].concat(), b"");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a JSON list");
        let told = findings.iter().find(|finding| finding["check"] == "cache");
        let told = told.unwrap_or_else(|| panic!("{ran:?}"))["evidence"].as_str().expect("a text");
        let key =
            told.strip_prefix("looked for in \"/run/tripod-credentials\" as ")?.strip_suffix(" first")?;
        assert_eq!(key.len(), 64, "{told}");
        Some(key.to_owned())
    }
}

/// The token of a service account; nobody looks at its signature.
fn token(account: &str, uid: &str, audience: &str, number: u64) -> String {
    let claims = json!({
        "iss": "https://cluster.example", "sub": format!("system:serviceaccount:{account}"), "aud": [audience],
        "exp": 2_000_000_000 + number, "kubernetes.io": {"serviceaccount": {"uid": uid}},
    });
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Tokens of different accounts, or for different audiences.
fn tokens() -> [String; 4] {
    [("team/a", "1", "x"), ("team/b", "1", "x"), ("team/a", "2", "x"), ("team/a", "1", "y")]
        .map(|(account, uid, audience)| token(account, uid, audience, 1))
}

/// All are there, and no two alike.
fn assert_apart(keys: impl IntoIterator<Item = Option<String>>) {
    let mut keys: Vec<_> = keys.into_iter().map(|key| key.expect("a key")).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "{keys:#?}");
}

#[test]
fn keys_of_the_environment_keep_them_apart() {
    let node = Node::new();
    let with = |name: &'static str, value: &'static str| {
        let usual = [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let variables = [&usual[..], &[(name, value)]].concat();
        node.key(&variables, AMAZON, &["provider: ecr", "identity: [environment]"])
    };
    assert_apart([
        with("HOME", "/"),
        with("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE"),
        with("AWS_SECRET_ACCESS_KEY", "t"),
        with("AWS_SESSION_TOKEN", "x"),
        with("AWS_SESSION_TOKEN", "y"),
        with("AWS_ENDPOINT_URL_ECR", "https://ecr.example.com"),
    ]);
    assert_eq!(with("HOME", "/"), with("HOME", "/root"), "what decides nothing");
    let container = |secret: &str| {
        let endpoint = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/");
        let variables = [endpoint, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", secret)];
        node.key(&variables, AMAZON, &["provider: ecr", "identity: [container]"])
    };
    assert_apart([container("a"), container("b")]);
}

#[test]
fn whom_the_environment_names_keeps_them_apart() {
    let node = Node::new();
    let azure = |file: &str, name: &str, value: &str| {
        let variables = [("AZURE_FEDERATED_TOKEN_FILE", file), (name, value)];
        node.key(&variables, AZURE, &["provider: acr", "identity: [federated]"])
    };
    assert_apart([
        azure("/a", "AZURE_CLIENT_ID", "a"),
        azure("/a", "AZURE_CLIENT_ID", "b"),
        azure("/a", "AZURE_TENANT_ID", "a"),
        azure("/b", "AZURE_TENANT_ID", "a"),
    ]);
    let google = |variables: Variables<'_>| node.key(variables, GOOGLE, &["provider: gcp"]);
    assert_apart([google(&[]), google(&[("GCE_METADATA_HOST", "127.0.0.1:1")])]);
}

#[test]
fn whose_token_the_pod_has_keeps_them_apart_and_a_renewed_one_does_not() {
    let node = Node::new();
    let (all, renewed) = (tokens(), token("team/a", "1", "x", 2));
    let role = format!("serviceAccountRole: {ROLE}");
    let entries: [(Place, &[&str]); 4] = [
        (GOOGLE, &["provider: gcp", "identity: [service-account]", POOL]),
        (AZURE, &["provider: acr", "identity: [service-account]", "clientId: c", "tenantId: t"]),
        (AMAZON, &["provider: ecr", "identity: [service-account]", &role]),
        (ANY, &["provider: quay", "robot: team+robot"]),
    ];
    for (place, lines) in entries {
        let key = |token: &String| node.key_of_pod(token, place, lines);
        assert_apart(all.iter().map(key));
        assert_eq!(key(&all[0]), key(&renewed), "{lines:?}");
    }
    assert_eq!(
        node.key_of_pod(&renewed, ANY, &["provider: harbor"]),
        None,
        "the token itself is kept nowhere"
    );
}

#[test]
fn whose_token_lies_on_the_node_keeps_them_apart_and_a_renewed_one_does_not() {
    let node = Node::new();
    let (all, renewed) = (tokens(), token("team/a", "1", "x", 2));
    let file = node.path("token").display().to_string();
    let variables = [("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()), ("AWS_ROLE_ARN", ROLE)];
    let named = format!("tokenFile: {file}");
    let entries: [(Place, &[&str]); 2] = [
        (AMAZON, &["provider: ecr", "identity: [web-identity]"]),
        (ANY, &["provider: quay", "robot: team+robot", &named]),
    ];
    for (place, lines) in entries {
        let key = |token: &String| {
            node.write("token", token);
            node.key(&variables, place, lines)
        };
        assert_apart(all.iter().map(key));
        assert_eq!(key(&all[0]), key(&renewed), "{lines:?}");
    }
}

#[test]
fn what_oracles_file_says_keeps_them_apart() {
    let node = Node::new();
    let file = format!("configFile: {}", node.path("oci").display());
    let key = |text: &str, profile: &str| {
        node.write("oci", text);
        let profile = format!("profile: {profile}");
        node.key(&[], ORACLE, &["provider: ocir", "identity: [user]", &file, &profile])
    };
    let text = "[A]\nuser=u\nfingerprint=f\ntenancy=t\nkey_file=/k\n";
    assert_apart([
        key(text, "A"),
        key(text, "B"),
        key(&text.replace("user=u", "user=v"), "A"),
        key(&text.replace("=f", "=g"), "A"),
    ]);
    std::fs::remove_file(node.path("oci")).unwrap();
    let lines = ["provider: ocir", "identity: [user]", &file];
    assert_eq!(node.key(&[], ORACLE, &lines), None, "nothing is kept of a file that is not there");
}
