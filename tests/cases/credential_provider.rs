//! The image credential provider as the kubelet and an admin run it.

mod aws;
mod azure;
mod cache_keys;
mod exchanges;
mod failures;
mod farend;
mod google;
mod keyring;
mod kubelet_asks;
mod kubelet_config;
mod kubelet_file;
mod kubelet_rules;
mod named_files;
mod network;
mod nobody;
mod oracle;
mod others;
mod people;
mod protocol;
mod puller;
mod registry;
mod secrets;
mod world;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::programs;

/// The password that must never be seen in a message.
const PASSWORD: &str = "hunter2-correct-horse";
const USER: &str = "robot$puller";
const IMAGE: &str = "registry.example.com:5000/team/app";

/// A node's configuration in a folder of its own.
struct Node {
    folder: TempDir,
}

/// Names and values.
type Variables<'v> = &'v [(&'v str, &'v str)];

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Node {
    /// A node that has credentials for `registry.example.com:5000`.
    fn new() -> Self {
        let node = Self { folder: TempDir::new().expect("a temporary folder") };
        node.write(
            "auth.json",
            &json!({"auths": {"registry.example.com:5000": login(USER, PASSWORD)}}).to_string(),
        );
        node.write("config.yaml", &node.entry("registry.example.com:5000", ""));
        node
    }

    /// A configuration with one entry, and `more` lines in it.
    fn entry(&self, pattern: &str, more: &str) -> String {
        let file = self.path("auth.json");
        format!(
            "version: v1\nregistries:\n  - match: [\"{pattern}\"]\n    provider: docker-config\n    file: {}\n{more}",
            file.display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file in the temporary folder");
    }

    /// Runs the program with `--config` and `arguments`, an empty environment, and `stdin`.
    fn run(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut command = Command::new(programs::program("tripod-credential-provider"));
        command.args(arguments).arg("--config").arg(self.path("config.yaml"));
        run(command, stdin)
    }

    /// The same with these variables.
    fn run_with(&self, variables: Variables<'_>, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut command = Command::new(programs::program("tripod-credential-provider"));
        command.args(arguments).arg("--config").arg(self.path("config.yaml"));
        command.env_clear().envs(variables.iter().copied());
        run_as_it_is(command, stdin)
    }

    /// Asks as the kubelet does.
    fn ask(&self, image: &str) -> Ran {
        self.run(&[], request(image).as_bytes())
    }
}

impl Ran {
    /// The one JSON document on stdout of a run that succeeded in silence.
    fn document(&self) -> Value {
        assert!(self.success && self.stderr.is_empty(), "{self:?}");
        serde_json::from_str(&self.stdout).expect("one JSON document")
    }

    /// The one line on stderr of a run that failed and wrote nothing else.
    fn complaint(&self) -> &str {
        assert!(!self.success && self.stdout.is_empty(), "{self:?}");
        let line =
            self.stderr.strip_prefix("tripod-credential-provider: ").expect("the program's name first");
        assert!(!line.is_empty() && !line.contains('\n'), "one line: {line:?}");
        line
    }
}

fn run(mut command: Command, stdin: &[u8]) -> Ran {
    command.env_clear();
    run_as_it_is(command, stdin)
}

/// The same with the environment that `command` has.
fn run_as_it_is(mut command: Command, stdin: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    match child.stdin.take().expect("a pipe to its stdin").write_all(stdin) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("cannot write the request: {error}"),
        _ => {}
    }
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ran { success: output.status.code() == Some(0), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn request(image: &str) -> String {
    json!({
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": image,
    })
    .to_string()
}

fn login(user: &str, password: &str) -> Value {
    json!({"auth": BASE64_STANDARD.encode(format!("{user}:{password}"))})
}

fn golden(name: &str) -> String {
    let path = programs::workspace().join("tests/golden/credential_provider").join(name);
    read(&path)
}

/// The lines of a golden table, each a JSON list.
fn golden_table(name: &str) -> Vec<Value> {
    golden(name).lines().map(|line| serde_json::from_str(line).expect("a JSON list per line")).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
