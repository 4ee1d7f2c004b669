//! A container registry's front door, small enough to need nothing: `GET /v2/` and
//! `GET /v2/<name>/manifests/<reference>` behind HTTP Basic authentication, as the distribution API has them.
//!
//! It stands in for a registry where credentials are to be judged and no image is to be pulled. It listens
//! in the network namespace of the thread that starts it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::socket::{Shutdown, shutdown};

/// Longest request head that is read, in bytes.
const LONGEST_HEAD: u64 = 16 << 10;
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

const MANIFEST_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// A running registry; it stops when dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    listener: TcpListener,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    server: Option<JoinHandle<()>>,
}

/// A request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path asked for.
    pub path: String,
    /// Who asked, if anybody said so.
    pub user: Option<String>,
    /// The HTTP status answered.
    pub status: u16,
}

/// The user it lets in.
#[derive(Clone, Debug)]
struct Account {
    user: String,
    password: String,
}

impl Exchange {
    /// Whether the credentials were good.
    pub fn accepted(&self) -> bool {
        self.status == 200
    }
}

impl Registry {
    /// Listens on `address` (port 0 for any free one) and lets in `user` with `password`.
    pub fn start(address: SocketAddr, user: &str, password: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let account = Account { user: user.to_owned(), password: password.to_owned() };
        let exchanges = Arc::new(Mutex::new(Vec::new()));
        let (incoming, log) = (listener.try_clone()?, Arc::clone(&exchanges));
        let server = std::thread::Builder::new().name("registry".into()).spawn(move || {
            // Accepting fails once the listener is shut down.
            while let Ok((client, _)) = incoming.accept() {
                // A client that breaks off is none of the registry's business.
                if let Ok(exchange) = serve(&client, &account) {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
                }
            }
        })?;
        Ok(Self { address, listener, exchanges, server: Some(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests answered so far, in order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let stopped = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let (Ok(()), Some(server)) = (stopped, self.server.take()) {
            server.join().expect("the registry's thread ends without a panic");
        }
    }
}

/// Asks the registry at `address` for `path`, as `(user, password)` if given, and returns the status.
pub fn get(address: SocketAddr, path: &str, account: Option<(&str, &str)>) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = account.map_or_else(String::new, |(user, password)| {
        format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
    });
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_HEAD).read_to_string(&mut answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {answer:?}")))
}

fn serve(client: &TcpStream, account: &Account) -> io::Result<Exchange> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(client.take(LONGEST_HEAD));
    let (method, path) = read_request_line(&mut head)?;
    let given = read_account(&mut head)?;
    let accepted = given.as_ref().is_some_and(|g| g.user == account.user && g.password == account.password);
    let status = match (method.as_str(), accepted) {
        ("GET" | "HEAD", false) => 401,
        ("GET" | "HEAD", true) if is_known(&path) => 200,
        ("GET" | "HEAD", true) => 404,
        _ => 405,
    };
    write_response(client, status, &method, &path)?;
    Ok(Exchange { method, path, user: given.map(|account| account.user), status })
}

fn read_request_line(head: &mut impl BufRead) -> io::Result<(String, String)> {
    let mut line = String::new();
    head.read_line(&mut line)?;
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [method, path, "HTTP/1.0" | "HTTP/1.1"] => Ok((method.to_owned(), path.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP request")),
    }
}

/// Reads the headers to their end and takes the account out of them.
fn read_account(head: &mut impl BufRead) -> io::Result<Option<Account>> {
    let mut account = None;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(account);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            account = parse_basic(value.trim());
        }
    }
}

fn parse_basic(value: &str) -> Option<Account> {
    let packed = value.strip_prefix("Basic ")?;
    let plain = String::from_utf8(BASE64_STANDARD.decode(packed).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(Account { user: user.to_owned(), password: password.to_owned() })
}

fn is_known(path: &str) -> bool {
    path == "/v2/" || path.strip_prefix("/v2/").is_some_and(|rest| rest.contains("/manifests/"))
}

fn write_response(mut client: &TcpStream, status: u16, method: &str, path: &str) -> io::Result<()> {
    let (reason, extra, media, body) = match status {
        200 if path == "/v2/" => ("OK", "", "application/json", "{}"),
        200 => ("OK", "", MANIFEST_TYPE, MANIFEST),
        401 => (
            "Unauthorized",
            "WWW-Authenticate: Basic realm=\"registry\"\r\n",
            "application/json",
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
        ),
        404 => ("Not Found", "", "application/json", r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
        _ => ("Method Not Allowed", "", "application/json", r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
    };
    let length = body.len();
    let body = if method == "HEAD" { "" } else { body };
    write!(
        client,
        "HTTP/1.1 {status} {reason}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n{extra}\
         Content-Type: {media}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
