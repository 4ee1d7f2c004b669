//! An internet of one's own in a namespace: far ends have their real names and addresses there, so programs are run
//! as an admin would configure them, with no address overridden.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::apiserver::Authority;
use crate::farend::{FarEnd, Server};
use crate::namespace::Namespace;

/// Where clouds answer their own machines.
const METADATA: &str = "169.254.169.254";

/// A node with its internet, and a folder for its files.
#[derive(Debug)]
pub struct Internet {
    inside: Namespace,
    folder: TempDir,
    authority: Arc<Authority>,
    names: usize,
}

impl Internet {
    /// `None`, loudly, without root.
    pub fn new() -> Option<Self> {
        let (inside, folder) = (Namespace::node()?, TempDir::new().expect("a temporary folder"));
        let internet = Self { inside, folder, authority: Arc::new(Authority::default()), names: 0 };
        internet.write("ca.pem", internet.authority.certificate());
        let hosts = internet.write("hosts", "127.0.0.1 localhost\n");
        let script = format!("mount --bind {hosts} /etc/hosts && ip address add {METADATA}/32 dev lo");
        internet.inside.sh(&script);
        Some(internet)
    }

    /// Serves HTTPS under `name`.
    pub fn serve(&mut self, name: &str, far_end: impl FarEnd) -> Server {
        self.names += 1;
        let address: IpAddr = format!("127.1.0.{}", self.names).parse().expect("an address");
        let mut hosts = std::fs::read_to_string(self.path("hosts")).expect("the file of names");
        hosts.push_str(&format!("{address} {name}\n"));
        self.write("hosts", &hosts);
        let (authority, name) = (self.authority.clone(), name.to_owned());
        let address = SocketAddr::new(address, 443);
        self.inside.run(move || Server::start_tls_on(address, far_end, &authority, &[&name]))
    }

    /// Serves HTTP at the address of metadata services.
    pub fn serve_metadata(&self, far_end: impl FarEnd) -> Server {
        let address = format!("{METADATA}:80").parse().expect("an address");
        self.inside.run(move || Server::start_on(address, far_end))
    }

    /// What is sent to the address of metadata services is lost, as on a machine that is in no cloud.
    pub fn lose_metadata(&self) {
        let script = format!(
            "nft 'add table inet lost; add chain inet lost in {{ type filter hook input priority 0; }}; \
             add rule inet lost in ip daddr {METADATA} drop'"
        );
        self.inside.sh(&script);
    }

    /// Serves HTTP at another address of the node's own.
    pub fn serve_at(&self, address: &str, far_end: impl FarEnd) -> Server {
        self.inside.sh(&format!("ip address add {address}/32 dev lo"));
        let address = SocketAddr::new(address.parse().expect("an address"), 80);
        self.inside.run(move || Server::start_on(address, far_end))
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in its folder; returns the path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file in the temporary folder");
        path.display().to_string()
    }

    /// Runs `job` on the node.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.inside.run(job)
    }

    /// Starts each of `commands` on the node, all at once, with its text on stdin, and waits for them.
    pub fn run_at_once(&self, commands: Vec<(Command, String)>) -> Vec<Output> {
        self.run(|| {
            let threads: Vec<_> = commands
                .into_iter()
                .map(|(command, stdin)| std::thread::spawn(move || feed(command, &stdin)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}

fn feed(mut command: Command, stdin: &str) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("the program reads");
    child.wait_with_output().expect("the program ends")
}
