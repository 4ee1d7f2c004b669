//! The registry's second door. It takes a ServiceAccount's token for a password, as a registry does that trusts the
//! cluster, asks the cluster about it, and lets in one account.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::cluster::addresses::{REGISTRY, REGISTRY_NAME, REGISTRY_PORT};
use crate::cluster::{Cluster, Kubectl, registry};

const PORT: u16 = REGISTRY_PORT + 1;
/// The user whose password is a token.
const USER: &str = "jwt";
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 64 << 10;
const REFUSAL: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"tripod\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Whom it lets in, and whom it asks.
pub(super) struct Door<'c> {
    pub(super) cluster: &'c Cluster,
    pub(super) kubectl: &'c Kubectl<'c>,
    pub(super) account: &'c str,
    pub(super) audience: &'c str,
}

/// Host and port, as images name it.
pub(super) fn name() -> String {
    format!("{REGISTRY_NAME}:{PORT}")
}

impl Door<'_> {
    /// Does `work` while it is open.
    pub(super) fn open<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let place = SocketAddr::from((REGISTRY.v4, PORT));
        let listener = self.cluster.underlay().within_network(|| Ok(TcpListener::bind(place)?))?;
        listener.set_nonblocking(true)?;
        let closed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.answer_all(&listener, &closed));
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            closed.store(true, Ordering::SeqCst);
            done.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked, as told above")))
        })
    }

    fn answer_all(&self, listener: &TcpListener, closed: &AtomicBool) {
        while !closed.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((client, _)) => {
                    if let Err(error) = self.answer(&client) {
                        eprintln!("the registry's door: {error:#}");
                    }
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn answer(&self, mut client: &TcpStream) -> anyhow::Result<()> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let head = read_head(client)?;
        let Some(token) = token(&head) else { return Ok(client.write_all(REFUSAL.as_bytes())?) };
        if !self.knows(&token)? {
            return Ok(client.write_all(REFUSAL.as_bytes())?);
        }
        let place = SocketAddr::from((REGISTRY.v4, REGISTRY_PORT));
        let connect = || Ok(TcpStream::connect_timeout(&place, PATIENCE)?);
        let mut inside = self.cluster.underlay().within_network(connect)?;
        inside.write_all(as_puller(&head).as_bytes())?;
        io::copy(&mut inside, &mut client)?;
        Ok(())
    }

    /// Whether the API server says that the token is the account's, and for this audience.
    fn knows(&self, token: &str) -> anyhow::Result<bool> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self.audience]},
        });
        let file = self.cluster.folder().join("token-review.json");
        std::fs::write(&file, review.to_string())?;
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = self.kubectl.run(&["create", "--raw", path, "--filename", &file.to_string_lossy()]);
        std::fs::remove_file(&file)?;
        let answer: Value = serde_json::from_str(&answer?).context("a TokenReview")?;
        let expected = format!("system:serviceaccount:default:{}", self.account);
        Ok(answer["status"]["authenticated"] == true && answer["status"]["user"]["username"] == expected)
    }
}

/// The lines up to the empty one.
fn read_head(client: &TcpStream) -> io::Result<Vec<String>> {
    let lines = BufReader::new(client.take(LONGEST_HEAD)).lines();
    lines.take_while(|line| line.as_ref().map_or(true, |line| !line.is_empty())).collect()
}

/// The password of the user whose password is a token.
fn token(head: &[String]) -> Option<String> {
    let (_, packed) = head.iter().find_map(|line| line.split_once(": Basic "))?;
    let login = String::from_utf8(BASE64_STANDARD.decode(packed).ok()?).ok()?;
    login.strip_prefix(USER)?.strip_prefix(':').map(str::to_owned)
}

/// The same request, by the one whom the registry itself knows, on a connection for this one alone.
fn as_puller(head: &[String]) -> String {
    let login = BASE64_STANDARD.encode(format!("{}:{}", registry::USER, registry::PASSWORD));
    let own = ["authorization:", "connection:"];
    let is_kept = |line: &&String| !own.iter().any(|name| line.to_lowercase().starts_with(name));
    let kept: Vec<_> = head.iter().filter(is_kept).map(String::as_str).collect();
    format!("{}\r\nAuthorization: Basic {login}\r\nConnection: close\r\n\r\n", kept.join("\r\n"))
}
