//! Bad input of every kind: exit code 1, nothing on stdout, one line that names the object, and no secret.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tripod_tests::programs;

use super::{IMAGE, Node, PASSWORD, Ran, USER, login, read, request, run};

/// Neither the password nor any form it has in a file may be in a message.
fn assert_no_secret(ran: &Ran) {
    let packed = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, &packed, packed.trim_end_matches('='), &BASE64_STANDARD.encode(PASSWORD)] {
        assert!(!ran.stderr.contains(secret), "{secret:?} in {:?}", ran.stderr);
    }
}

fn assert_refused(ran: &Ran, pieces: &[&str]) {
    let line = ran.complaint();
    for piece in pieces {
        assert!(line.contains(piece), "{piece:?} is not in {line:?}");
    }
    assert_no_secret(ran);
}

#[test]
fn a_request_that_is_none_is_refused() {
    let node = Node::new();
    let version = "credentialprovider.kubelet.k8s.io/v1";
    let document = |kind: &str, version: &str, image: Value| {
        json!({"kind": kind, "apiVersion": version, "image": image, "serviceAccountToken": PASSWORD})
            .to_string()
    };
    let kind = "CredentialProviderRequest";
    for (stdin, pieces) in [
        (String::new(), &["stdin is empty", "--help"][..]),
        (" \n".into(), &["stdin is empty"]),
        (format!("{PASSWORD}\n"), &["invalid JSON at line 1 column 1", "--help"]),
        (format!("{{\"serviceAccountToken\": \"{PASSWORD}"), &["ends too early"]),
        (
            format!("[\"{PASSWORD}\", \"{PASSWORD}\"]"),
            &["no CredentialProviderRequest: a value of the wrong type"],
        ),
        ("[".repeat(100_000), &["no CredentialProviderRequest"]),
        (format!("{{\"a\":{}", "{\"a\":".repeat(100_000)), &["no CredentialProviderRequest"]),
        (request(IMAGE) + &request(IMAGE), &["invalid JSON"]),
        (document("Pod", version, json!(IMAGE)), &["kind \"Pod\"", "not \"CredentialProviderRequest\""]),
        (
            document(kind, "v1", json!(IMAGE)),
            &["apiVersion \"v1\"", "credentialprovider.kubelet.k8s.io/v1beta1"],
        ),
        (
            document(kind, &format!("{version}beta2"), json!(IMAGE)),
            &["k8s.io/v1beta2\"", "kubelet's configuration"],
        ),
        (document(kind, version, json!("")), &["names no image"]),
        (document(kind, version, json!([PASSWORD])), &["wrong type"]),
        (document(kind, version, json!("a/B\nc")), &["image reference \"a/B\\nc\"", "repository path"]),
        (document(kind, version, json!("a/".repeat(5000))), &["10000 bytes, more than the 1024"]),
    ] {
        assert_refused(&node.run(&[], stdin.as_bytes()), pieces);
    }
    assert_refused(&node.run(&[], b"\xff\xfe"), &["invalid JSON"]);
}

#[test]
fn a_request_without_end_is_refused_and_not_kept_in_memory() {
    let node = Node::new();
    let ran = node.run(&[], &[b' '; 10 << 20]);
    assert_refused(&ran, &["larger than 1048576 bytes"]);
}

#[test]
fn an_image_without_an_entry_is_named() {
    let node = Node::new();
    let config = node.path("config.yaml").display().to_string();
    assert_refused(
        &node.ask("registry.example.com/team/app"),
        &["no entry of", &config, "image registry.example.com/team/app", "match", "matchImages"],
    );
}

#[test]
fn a_configuration_that_cannot_be_used_is_named_with_line_and_key() {
    let node = Node::new();
    let config = node.path("config.yaml").display().to_string();
    node.write("config.yaml", &node.entry("registry.example.com:5000", "    pasword: x\n"));
    assert_refused(&node.ask(IMAGE), &[&format!("{config}:6: registries[0].pasword: unknown key")]);
    node.write("config.yaml", &node.entry("registry.example.com:5000/*", "    onError: never\n"));
    let pieces = [
        &format!("{config}:3: registries[0].match: pattern \"registry.example.com:5000/*\""),
        "can never match",
        "1 more",
    ];
    assert_refused(&node.ask(IMAGE), &pieces);
    // A mistake easily made: the Docker config in the place of ours.
    node.write("config.yaml", &read(&node.path("auth.json")));
    assert_refused(&node.ask(IMAGE), &["unknown key \"auths\""]);
    node.write("config.yaml", &" ".repeat((1 << 20) + 1));
    assert_refused(&node.ask(IMAGE), &["larger than 1048576 bytes"]);
    std::fs::remove_file(node.path("config.yaml")).unwrap();
    assert_refused(
        &node.ask(IMAGE),
        &["cannot open", &config, "No such file or directory", "correct the path"],
    );
}

#[test]
fn a_file_that_is_no_docker_config_is_named_and_not_repeated() {
    let node = Node::new();
    let file = node.path("auth.json").display().to_string();
    for (content, problem) in [
        (String::new(), "ends too early"),
        (PASSWORD.to_owned(), "invalid JSON at line 1"),
        (format!("{{\"auths\": {{\"registry.example.com:5000\": {{\"auth\": \"{PASSWORD}"), "ends too early"),
        (format!("{{\"auths\": \"{PASSWORD}\"}}"), "wrong type"),
        (
            format!("{{\"auths\": {{\"registry.example.com:5000\": {{\"password\": [\"{PASSWORD}\"]}}}}}}"),
            "wrong type",
        ),
        (format!("{{\"auths\": {}", "[".repeat(100_000)), "no Docker config"),
    ] {
        node.write("auth.json", &content);
        assert_refused(&node.ask(IMAGE), &[&file, problem, IMAGE, "config.yaml:3"]);
    }
    node.write("auth.json", &" ".repeat((1 << 20) + 1));
    assert_refused(&node.ask(IMAGE), &[&file, "larger than 1048576 bytes"]);
}

#[test]
fn a_docker_config_without_usable_credentials_says_what_is_missing() {
    let node = Node::new();
    let packed = BASE64_STANDARD.encode(PASSWORD);
    let good = login(USER, PASSWORD);
    for (document, pieces) in [
        (json!({}), &["has no auths key for registry.example.com:5000/team/app", "none at all"][..]),
        (
            json!({"auths": {"registry.example.com": good}}),
            &["it has \"registry.example.com\"", "host and port"],
        ),
        (json!({"auths": {(format!("{USER}:{PASSWORD}@other.io")): good}}), &["it has \"other.io\""]),
        (json!({"auths": {(format!("{USER}:{PASSWORD}")): good}}), &["none at all"]),
        (json!({"auths": {"registry.example.com:5000": {}}}), &["neither \"auth\" nor"]),
        (json!({"auths": {"registry.example.com:5000": {"auth": PASSWORD}}}), &["\"auth\" is not base64"]),
        (
            json!({"auths": {"registry.example.com:5000": {"auth": packed}}}),
            &["not base64 of \"user:password\""],
        ),
        (
            json!({"auths": {"registry.example.com:5000": {"identitytoken": PASSWORD}}}),
            &["\"identitytoken\" is not supported", "access token"],
        ),
        (
            json!({"auths": {"registry.example.com:5000": {}}, "credsStore": "pass"}),
            &["docker-credential-pass", "say with helperDir"],
        ),
        (
            json!({"credHelpers": {"registry.example.com:5000": "ecr-login"}}),
            &["docker-credential-ecr-login", "say with helperDir"],
        ),
    ] {
        node.write("auth.json", &document.to_string());
        assert_refused(&node.ask(IMAGE), pieces);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_kernels_answer() {
    let node = Node::new();
    let file = node.path("auth.json");
    let name = file.display().to_string();
    std::fs::remove_file(&file).unwrap();
    assert_refused(&node.ask(IMAGE), &[&name, "No such file or directory", "create it"]);
    std::fs::create_dir(&file).unwrap();
    assert_refused(&node.ask(IMAGE), &[&name, "is a folder, not a regular file"]);
    std::fs::remove_dir(&file).unwrap();
    // Opening a pipe would wait for somebody to write into it.
    nix::unistd::mkfifo(&file, Mode::S_IRUSR).unwrap();
    assert_refused(&node.ask(IMAGE), &[&name, "device, pipe or socket"]);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    assert_refused(&node.ask(IMAGE), &[&name, "symbolic links"]);
}

#[test]
fn a_file_that_its_reader_may_not_read_is_named() {
    let node = Node::new();
    // Root may read everything, so the program runs as somebody else, from a place where others may go.
    let program = node.path("program");
    std::fs::copy(programs::program("tripod-credential-provider"), &program).unwrap();
    for (name, mode) in [("", 0o755), ("program", 0o755), ("config.yaml", 0o644), ("auth.json", 0o000)] {
        std::fs::set_permissions(node.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(program);
    command.arg("--config").arg(node.path("config.yaml"));
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let ran = run(command, request(IMAGE).as_bytes());
    assert_refused(&ran, &[&node.path("auth.json").display().to_string(), "Permission denied", "root"]);
}

#[test]
fn a_wrong_command_line_is_refused_without_reading_stdin() {
    let node = Node::new();
    for (arguments, piece) in [
        (&["fetch"][..], "argument \"fetch\" is not known"),
        (&["--jsno"], "argument \"--jsno\" is not known"),
        (&["explain"], "explain needs a value"),
        (&["--json"], "--json does not go with an answer to the kubelet"),
    ] {
        let mut command = Command::new(programs::program("tripod-credential-provider"));
        command.args(arguments);
        assert_refused(&run(command, b""), &["command line", piece, "--help"]);
    }
    assert_refused(&node.run(&["explain", "a/B"], b""), &["image reference \"a/B\""]);
}

#[test]
fn an_answer_that_nobody_takes_is_a_failure() {
    let node = Node::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(programs::program("tripod-credential-provider"));
    command.arg("--config").arg(node.path("config.yaml")).env_clear().stdout(full);
    let request_file = node.path("request.json");
    std::fs::write(&request_file, request(IMAGE)).unwrap();
    let output = command.stdin(std::fs::File::open(request_file).unwrap()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("No space left on device"), "{stderr}");
}
