//! What an agent costs that watches all Nodes, as those do that have no objects of their own.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tripod_tests::namespace::Namespace;

/// A client that reads all that is told of Nodes, until it is dropped.
pub(crate) struct Watcher(Child);

impl Watcher {
    /// Watches from `version` on, with the token in this file.
    pub(crate) fn start(node: &Namespace, version: u64, token: &Path) -> Self {
        let token = std::fs::read_to_string(token).expect("a token");
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", "127.0.0.1:6443"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = node.run(move || command.spawn().expect("openssl"));
        let request = format!(
            "GET /api/v1/nodes?watch=true&resourceVersion={version} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        client.stdin.as_mut().expect("a pipe").write_all(request.as_bytes()).expect("it reads");
        Self(client)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
