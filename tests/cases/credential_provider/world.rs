//! A node on an internet of its own, with one registry configured.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tripod_tests::farend::{FarEnd, Server};
use tripod_tests::internet::Internet;
use tripod_tests::programs;

use super::{Ran, run};

/// A node and its internet.
pub(super) struct World {
    internet: Internet,
    deadline: &'static str,
}

impl World {
    /// `None`, loudly, without root.
    pub(super) fn new() -> Option<Self> {
        Some(Self { internet: Internet::new()?, deadline: "20s" })
    }

    /// From now on the program has little time, so that a far end in trouble is soon given up.
    pub(super) fn hurry(&mut self) {
        self.deadline = "4s";
    }

    /// Serves HTTPS under `name`.
    pub(super) fn serve(&mut self, name: &str, far_end: impl FarEnd) -> Server {
        self.internet.serve(name, far_end)
    }

    /// Serves HTTP at the address of metadata services.
    pub(super) fn serve_metadata(&self, far_end: impl FarEnd) -> Server {
        self.internet.serve_metadata(far_end)
    }

    /// What is sent to the address of metadata services is lost.
    pub(super) fn lose_metadata(&self) {
        self.internet.lose_metadata();
    }

    /// Serves HTTP at another link-local address.
    pub(super) fn serve_at(&self, address: &str, far_end: impl FarEnd) -> Server {
        self.internet.serve_at(address, far_end)
    }

    /// Configures one registry by these lines.
    pub(super) fn configure(&self, lines: &[&str]) {
        let path = |name: &str| self.internet.path(name).display().to_string();
        let head = format!(
            "version: v1\ndefaults: {{deadline: {}, caFile: {}}}\ncache: {{dir: {}}}\n",
            self.deadline,
            path("ca.pem"),
            path("cache")
        );
        self.write("config.yaml", &format!("{head}registries:\n  - {}\n", lines.join("\n    ")));
    }

    /// Where all its files are.
    pub(super) fn folder(&self) -> PathBuf {
        self.internet.path("")
    }

    /// A file of the node's.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        self.internet.write(name, text)
    }

    /// Asks as the kubelet does, in the name of a service account with this token and these annotations.
    pub(super) fn ask_for(&self, image: &str, token: &str, annotations: &Value) -> Ran {
        let mut request: Value = serde_json::from_str(&super::request(image)).unwrap();
        request["serviceAccountToken"] = token.into();
        request["serviceAccountAnnotations"] = annotations.clone();
        self.run(&[], request.to_string())
    }

    /// Asks as the kubelet does.
    pub(super) fn ask(&self, image: &str) -> Ran {
        self.run(&[], super::request(image))
    }

    /// Runs the program on the node.
    pub(super) fn run(&self, arguments: &[&str], stdin: String) -> Ran {
        let mut command = Command::new(programs::program("tripod-credential-provider"));
        command.args(arguments).arg("--config").arg(self.internet.path("config.yaml"));
        self.internet.run(move || run(command, stdin.as_bytes()))
    }

    /// What the kubelet's own code does with `job` on the node.
    pub(super) fn keyring(&self, job: Value) -> Ran {
        self.internet.run(move || super::keyring::ask(&job))
    }

    /// What `explain` says.
    pub(super) fn explain(&self, image: &str) -> String {
        self.run(&["explain", image], String::new()).stdout
    }
}

/// No annotations.
pub(super) fn none() -> Value {
    json!({})
}
