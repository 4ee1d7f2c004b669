//! Credentials that other programs have: helpers of Docker's client, and other providers of the kubelet.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tripod_tests::farend::jwt::Issuer;

use super::{IMAGE, Node, PASSWORD, Ran, USER, read};

const REGISTRY: &str = "registry.example.com:5000";

impl Node {
    /// A shell script that notes each of its runs in `NAME.runs`.
    fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(name);
        let noted = self.path(&format!("{name}.runs"));
        let text = format!("#!/bin/sh\necho \"$@\" >>{}\n{body}\n", noted.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// The arguments of each run of the script `name`.
    fn runs(&self, name: &str) -> Vec<String> {
        let noted = std::fs::read_to_string(self.path(&format!("{name}.runs"))).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    /// One entry with these `lines`, and a cache of its own.
    fn configure(&self, lines: &[&str]) {
        let dir = self.path("cache");
        let entry = lines.join("\n    ");
        let head = format!("version: v1\ndefaults: {{deadline: 2s}}\ncache: {{dir: {}}}\n", dir.display());
        self.write("config.yaml", &format!("{head}registries:\n  - {entry}\n"));
    }

    /// One entry for [`REGISTRY`] by `provider` with the program `script`.
    fn configure_program(&self, provider: &str, script: &str) {
        let (provider, program) = (format!("provider: {provider}"), format!("program: {script}"));
        self.configure(&[&format!("match: [\"{REGISTRY}\"]"), &provider, &program]);
    }
}

impl Ran {
    /// User, password and cache duration under the only key, which is `key`.
    pub(super) fn credentials(&self, key: &str) -> [String; 3] {
        let document = self.document();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        assert_eq!(document["auth"].as_object().map(serde_json::Map::len), Some(1), "{document}");
        let auth = &document["auth"][key];
        [text(&auth["username"]), text(&auth["password"]), text(&document["cacheDuration"])]
    }
}

/// What a helper prints for the registry on its stdin.
fn helper_body() -> String {
    format!(
        "read -r url; printf '{{\"ServerURL\":\"%s\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}' \"$url\""
    )
}

/// What a provider prints that is to be kept for `kept`, after it took a moment.
fn plugin_body(kept: &str) -> String {
    let response = json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry",
        "cacheDuration": kept,
        "auth": {REGISTRY: {"username": USER, "password": PASSWORD}},
    });
    format!("cat >/dev/null; sleep 0.2; echo '{response}'")
}

#[test]
fn a_helper_is_asked_as_docker_asks_it() {
    let node = Node::new();
    let script = node.script("docker-credential-x", &helper_body());
    node.configure_program("docker-helper", &script);
    assert_eq!(node.ask(IMAGE).credentials(REGISTRY), [USER, PASSWORD, "0s"]);
    assert_eq!(node.runs("docker-credential-x"), ["get"]);
}

#[test]
fn a_docker_config_may_leave_a_registry_to_a_helper() {
    let node = Node::new();
    node.script("docker-credential-x", &helper_body());
    node.write("auth.json", &json!({"credHelpers": {REGISTRY: "x"}}).to_string());
    let folder = node.path("").display().to_string();
    let lines = [
        &format!("match: [\"{REGISTRY}\"]"),
        "provider: docker-config",
        &format!("file: {}", node.path("auth.json").display()),
        &format!("helperDir: {folder}"),
    ];
    node.configure(&lines[..3]);
    let ran = node.ask(IMAGE);
    assert!(ran.complaint().contains("docker-credential-x; say with helperDir"), "{ran:?}");
    node.configure(&lines);
    assert_eq!(node.ask(IMAGE).credentials(REGISTRY), [USER, PASSWORD, "0s"]);
    node.write("auth.json", &json!({"credsStore": "../x"}).to_string());
    assert!(node.ask(IMAGE).complaint().contains("say with helperDir"), "a name is no path");
}

#[test]
fn what_a_helper_prints_when_it_fails_is_not_repeated() {
    let node = Node::new();
    for (body, said) in [
        (
            "echo 'credentials not found in native keychain'; exit 1",
            "has no credentials for registry.example.com:5000",
        ),
        (&format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 3"), "ended with exit code 3; run it by hand"),
        (&format!("echo {PASSWORD} >&2; kill -9 $$"), "ended with signal 9"),
        (&format!("echo {PASSWORD}"), "printed something else than Username and Secret: invalid JSON"),
        (&format!("echo '{{\"Username\":\"<token>\",\"Secret\":\"{PASSWORD}\"}}'"), "has an identity token"),
        ("yes", "printed more than 1048576 bytes"),
    ] {
        let script = node.script("docker-credential-x", body);
        node.configure_program("docker-helper", &script);
        let ran = node.ask(IMAGE);
        assert!(ran.complaint().contains(said) && !ran.complaint().contains(PASSWORD), "{said}: {ran:?}");
    }
    node.configure_program("docker-helper", "/nowhere/docker-credential-x");
    assert!(node.ask(IMAGE).complaint().contains("cannot run \"/nowhere/docker-credential-x\""));
}

#[test]
fn a_helper_that_hangs_is_ended_with_all_that_it_started() {
    let node = Node::new();
    let pid = node.path("grandchild");
    // The grandchild keeps stdout open, for which the kubelet would wait.
    let body = format!("sleep 1000 & echo $! >{}; sleep 1000", pid.display());
    let script = node.script("docker-credential-x", &body);
    node.configure_program("docker-helper", &script);
    let ran = node.ask(IMAGE);
    assert!(ran.complaint().contains("was ended: it was not done when the time"), "{ran:?}");
    let grandchild = std::fs::read_to_string(pid).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while runs() {
        assert!(Instant::now() < until, "the grandchild still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn twenty_images_at_once_ask_a_provider_once_and_later_ones_not_at_all() {
    let node = Node::new();
    let script = node.script("other-provider", &plugin_body("12h"));
    let lines = [
        format!("match: [\"{REGISTRY}\"]"),
        "provider: kubelet-plugin".to_owned(),
        format!("program: {script}"),
        "args: [--region, eu]".to_owned(),
        "cacheKeyType: Registry".to_owned(),
    ];
    node.configure(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let answers: Vec<[String; 3]> = std::thread::scope(|scope| {
        let node = &node;
        let images = (0..20).map(|n| format!("{REGISTRY}/team/app-{n}"));
        let asked: Vec<_> =
            images.map(|image| scope.spawn(move || node.ask(&image).credentials(REGISTRY))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for [user, password, kept] in answers {
        assert_eq!((user.as_str(), password.as_str()), (USER, PASSWORD));
        let seconds: u32 = kept.trim_end_matches('s').parse().unwrap();
        assert!((42_800..=42_900).contains(&seconds), "12 hours less the margin: {kept}");
    }
    assert_eq!(node.runs("other-provider"), ["--region eu"]);
    let kept = node.run(&["cache", "ls"], b"").stdout;
    assert!(kept.contains("s left") && !kept.contains(PASSWORD) && !kept.contains(USER), "{kept}");
    assert!(node.run(&["cache", "clear"], b"").stdout.starts_with("forgot 1 credentials"));
    node.ask(IMAGE);
    assert_eq!(node.runs("other-provider").len(), 2);
}

#[test]
fn a_provider_is_given_the_pods_token_and_its_answer_kept_for_nobody() {
    let node = Node::new();
    let request = node.path("request.json");
    let body = plugin_body("12h").replace("cat >/dev/null", &format!("cat >{}", request.display()));
    let script = node.script("other-provider", &body);
    let entry = |lines: &[&str]| {
        let program = format!("program: {script}");
        let first = format!("match: [\"{REGISTRY}\"]");
        node.configure(&[&[&first, "provider: kubelet-plugin", &program], lines].concat());
    };
    entry(&[
        "tokenAudience: a",
        "serviceAccountToken: true",
        "serviceAccountAnnotations: [example.com/role]",
    ]);
    let token = Issuer::new("https://cluster.example").service_account("team/puller", "a", 600);
    let mut asked: Value = serde_json::from_str(&super::request(IMAGE)).unwrap();
    asked["serviceAccountToken"] = token.into();
    asked["serviceAccountAnnotations"] = json!({"example.com/role": "r"});
    for _ in 0..2 {
        let ran = node.run(&[], asked.to_string().as_bytes());
        assert_eq!(ran.credentials(REGISTRY), [USER, PASSWORD, "42900s"]);
        let passed: Value = serde_json::from_str(&read(&request)).unwrap();
        assert_eq!(passed, asked, "as the kubelet asks");
    }
    assert_eq!(node.runs("other-provider").len(), 2);
    assert!(node.ask(IMAGE).complaint().contains("the kubelet passed no service account token"));
    assert_eq!(node.runs("other-provider").len(), 2);
    let printed = node.run(&["kubelet-config", "--kubelet-version", "1.37"], b"").stdout;
    for piece in ["serviceAccountTokenAudience: \"a\"", "cacheType: Token", "example.com/role"] {
        assert!(printed.contains(piece), "no {piece} in {printed}");
    }
    entry(&["serviceAccountAnnotations: [example.com/role]"]);
    assert!(node.ask(IMAGE).complaint().contains("add serviceAccountToken: true"));
    entry(&["serviceAccountToken: true", "apiVersion: credentialprovider.kubelet.k8s.io/v1beta1"]);
    assert!(node.ask(IMAGE).complaint().contains("v1beta1 tells of no tokens"));
}

#[test]
fn an_answer_for_one_image_is_not_kept_for_its_registry() {
    let node = Node::new();
    let script = node.script("other-provider", &plugin_body("12h").replace("\"Registry\"", "\"Image\""));
    let program = format!("program: {script}");
    let lines = ["provider: kubelet-plugin", &program, "cacheKeyType: Registry"];
    node.configure(&[&[format!("match: [\"{REGISTRY}\"]").as_str()], &lines[..]].concat());
    for _ in 0..2 {
        assert_eq!(node.ask(IMAGE).credentials(REGISTRY)[2], "0s");
    }
    assert_eq!(node.runs("other-provider").len(), 2);
}

#[test]
fn a_life_without_end_is_no_reason_to_fail() {
    let node = Node::new();
    let script = node.script("other-provider", &plugin_body("2000000h"));
    node.configure_program("kubelet-plugin", &script);
    assert_eq!(node.ask(IMAGE).credentials(REGISTRY)[2], "0s");
}

#[test]
fn a_provider_whose_answer_the_kubelet_would_refuse_is_refused() {
    let node = Node::new();
    let good = plugin_body("0s");
    for (body, said) in [
        (good.replace("CredentialProviderResponse", "Pod"), "answered with something else"),
        (good.replace("io/v1", "io/v1beta1"), "answered with something else"),
        (good.replace("Registry", "Everything"), "answered with something else"),
        (good.replace("cacheKeyType", "cacheKind"), "printed something else"),
        (
            good.replace(REGISTRY, "other.example.com"),
            "has no credentials for registry.example.com:5000/team/app",
        ),
        (format!("echo {PASSWORD} >&2; exit 1"), "ended with exit code 1; run it by hand with the request"),
    ] {
        let script = node.script("other-provider", &body);
        node.configure_program("kubelet-plugin", &script);
        let ran = node.ask(IMAGE);
        assert!(ran.complaint().contains(said) && !ran.complaint().contains(PASSWORD), "{said}: {ran:?}");
    }
}

#[test]
fn a_mirror_is_given_the_credentials_of_what_it_mirrors() {
    let node = Node::new();
    let file = format!("file: {}", node.path("auth.json").display());
    let mirrored = format!("mirrorOf: {REGISTRY}");
    node.configure(&["match: [docker.io]", "provider: docker-config", &file, &mirrored]);
    assert_eq!(node.ask("docker.io/library/nginx").credentials("docker.io"), [USER, PASSWORD, "0s"]);
    let explained = node.run(&["explain", "nginx"], b"").stdout;
    let said = "the credentials of registry.example.com:5000/library/nginx are given under docker.io";
    assert!(explained.contains(said), "{explained}");
}

#[test]
fn get_goes_the_whole_way_and_shows_no_secret() {
    let node = Node::new();
    let ran = node.run(&["get", IMAGE, "--redact"], b"");
    assert!(ran.success && !ran.stdout.contains(PASSWORD) && !ran.stdout.contains(USER), "{ran:?}");
    assert!(ran.stdout.contains(&format!("password       (redacted, {} bytes)", PASSWORD.len())), "{ran:?}");
    let ran = node.run(&["get", IMAGE], b"");
    assert!(ran.complaint().contains("add --redact"), "{ran:?}");
}

#[test]
fn get_says_of_a_failure_what_the_kubelet_would_be_given() {
    let node = Node::new();
    let entry = |policy: &str| {
        let file = format!("file: {}", node.path("none.json").display());
        node.configure(&[&format!("match: [\"{REGISTRY}\"]"), "provider: docker-config", &file, policy]);
        node.run(&["get", IMAGE, "--redact"], b"")
    };
    let ran = entry("onMissingIdentity: anonymous");
    assert!(ran.complaint().contains("cannot open"), "{ran:?}");
    let ran = entry("onError: anonymous");
    assert!(
        ran.success && ran.stdout.contains("auth key       (none: the image is pulled without"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("cacheDuration  0s\n") && ran.stderr.contains("cannot open"), "{ran:?}");
    assert_eq!(ran.stderr, node.ask(IMAGE).stderr, "the same reason");
    let tokens = |policy: &str| {
        node.configure(&[
            "match: [\"registry.example.com:5000\"]",
            "provider: harbor",
            "onError: fail",
            policy,
        ]);
        node.run(&["get", IMAGE, "--redact"], b"")
    };
    let ran = tokens("onMissingIdentity: anonymous");
    assert!(ran.success && ran.stdout.contains("(none: ") && ran.stderr.contains("no identity"), "{ran:?}");
    assert!(tokens("onMissingIdentity: fail").complaint().contains("there is no identity to ask with"));
}

#[test]
fn a_folder_adds_registries_in_the_order_of_its_files() {
    let node = Node::new();
    std::fs::create_dir(node.path("config.d")).unwrap();
    let part = |name: &str, host: &str, file: &str| {
        let entry = format!(
            "version: v1\nregistries:\n  - {{match: [{host}], provider: docker-config, file: {file}}}\n"
        );
        node.write(&format!("config.d/{name}"), &entry);
    };
    let auth = node.path("auth.json").display().to_string();
    part("20-b.yaml", "\"*.example.com:5000\"", "/nowhere");
    part("10-a.yaml", "\"*.example.com:5000\"", &auth);
    part(".hidden.yaml", "\"*.example.com:5000\"", "/nowhere");
    part("30.yaml.bak", "\"*.example.com:5000\"", "/nowhere");
    node.write("config.yaml", "version: v1\nregistries: []\n");
    assert_eq!(node.ask(IMAGE).credentials(REGISTRY), [USER, PASSWORD, "0s"]);
    node.write("config.d/15.yaml", "version: v1\ncache: {mode: off}\nregistries: []\n");
    let ran = node.ask(IMAGE);
    assert!(ran.complaint().contains("config.d/15.yaml:2: cache: it may stand in "), "{ran:?}");
}
