//! A node on an internet of its own: far ends have their real names and addresses there, so the program is run as an
//! admin would configure it, with no address overridden.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tripod_tests::apiserver::Authority;
use tripod_tests::farend::{FarEnd, Server};
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{Ran, run};

/// A node and its internet.
pub(super) struct World {
    inside: Namespace,
    folder: TempDir,
    authority: Arc<Authority>,
    hosts: usize,
    deadline: &'static str,
}

/// Where clouds answer their own machines.
pub(super) const METADATA: &str = "169.254.169.254";

impl World {
    /// `None`, loudly, without root.
    pub(super) fn new() -> Option<Self> {
        let (inside, folder, authority) =
            (Namespace::node()?, TempDir::new().unwrap(), Arc::new(Authority::default()));
        std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        std::fs::write(folder.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let hosts = folder.path().join("hosts").display().to_string();
        inside.sh(&format!("mount --bind {hosts} /etc/hosts && ip address add {METADATA}/32 dev lo"));
        Some(Self { inside, folder, authority, hosts: 0, deadline: "20s" })
    }

    /// From now on the program has little time, so that a far end in trouble is soon given up.
    pub(super) fn hurry(&mut self) {
        self.deadline = "4s";
    }

    /// Serves HTTPS under `name`.
    pub(super) fn serve(&mut self, name: &str, far_end: impl FarEnd) -> Server {
        self.hosts += 1;
        let address: IpAddr = format!("127.1.0.{}", self.hosts).parse().unwrap();
        let path = self.folder.path().join("hosts");
        let mut hosts = std::fs::read_to_string(&path).unwrap();
        hosts.push_str(&format!("{address} {name}\n"));
        std::fs::write(path, hosts).unwrap();
        let (authority, name) = (self.authority.clone(), name.to_owned());
        self.inside
            .run(move || Server::start_tls_on(SocketAddr::new(address, 443), far_end, &authority, &[&name]))
    }

    /// Serves HTTP at the address of metadata services.
    pub(super) fn serve_metadata(&self, far_end: impl FarEnd) -> Server {
        let address: SocketAddr = format!("{METADATA}:80").parse().unwrap();
        self.inside.run(move || Server::start_on(address, far_end))
    }

    /// Configures one registry by these lines.
    pub(super) fn configure(&self, lines: &[&str]) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let head = format!(
            "version: v1\ndefaults: {{deadline: {}, caFile: {}}}\ncache: {{dir: {}}}\n",
            self.deadline,
            path("ca.pem"),
            path("cache")
        );
        let text = format!("{head}registries:\n  - {}\n", lines.join("\n    "));
        std::fs::write(self.folder.path().join("config.yaml"), text).unwrap();
    }

    /// Where all its files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the node's.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
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
        command.args(arguments).arg("--config").arg(self.folder.path().join("config.yaml"));
        self.inside.run(move || run(command, stdin.as_bytes()))
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
