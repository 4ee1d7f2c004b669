//! The network layer against real sockets on this machine: far ends that are slow, wrong, hostile or absent.

mod answers;
mod far;
mod names;
mod proxies;
mod secure;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tripod_credential_provider::http::{Call, Client, Network, Url};
use tripod_credential_provider::secret::Secret;
use tripod_credential_provider::step::Deadline;

/// The header value that must never be seen in an error.
const SECRET: &str = "hunter2-correct-horse";

/// More than any test takes, and less than anybody waits for a test.
const LONG: Duration = Duration::from_secs(30);

/// Time after which a far end counts as silent.
const SHORT: Duration = Duration::from_millis(700);

/// A client that has all the time it needs.
fn client(network: &Network) -> Client {
    Client::new(network, Deadline::from_now(LONG))
}

/// A step that sends a secret to `url`.
fn get(url: &str) -> Call {
    Call::get("test-step", Url::parse(url).expect("a URL")).bearer(&Secret::new(SECRET.into()))
}

/// The line that the failed call leaves.
fn complaint(client: &Client, call: Call) -> String {
    let line = client.call(call).expect_err("the call fails").to_string();
    assert!(line.starts_with("step=test-step err="), "{line}");
    assert!(!line.contains(SECRET) && !line.contains('\n'), "{line}");
    line
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A file in `folder`.
fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file in the temporary folder");
    path
}

#[test]
fn nobody_listens() {
    let port = closed_port();
    let line = complaint(&client(&Network::default()), get(&format!("http://127.0.0.1:{port}")));
    assert!(
        line.contains(&format!("err=connect peer=127.0.0.1:{port} why=\"Connection refused\"")),
        "{line}"
    );
}

#[test]
fn an_absent_metadata_service_is_not_waited_for() {
    let url = format!("http://127.0.0.1:{}", closed_port());
    // With these pauses in between, a thousand attempts would take longer than the test may.
    let call = get(&url).metadata().tries(1000).hint("is this the right platform?");
    let line = complaint(&client(&Network::default()), call);
    assert!(line.contains("err=connect") && line.ends_with("hint=is this the right platform?"), "{line}");
}

#[test]
fn when_time_is_up_nobody_is_asked() {
    let far = far::Far::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let client = Client::new(&Network::default(), Deadline::from_now(Duration::ZERO));
    assert_eq!(complaint(&client, get(&far.url())), "step=test-step err=no-time-left");
    assert!(far.requests().is_empty());
}

#[test]
fn no_secret_leaves_this_machine_unencrypted() {
    let client = client(&Network::default());
    let line = complaint(&client, get("http://registry.example.com/token"));
    assert!(line.contains("err=plain-http peer=registry.example.com:80 hint=use https"), "{line}");
}

#[test]
fn a_header_from_a_file_cannot_add_others() {
    let far = far::Far::answering(&[""]);
    let call = get(&far.url()).secret("x-token", Secret::new("token\r\nx-other: 1".into()));
    let line = complaint(&client(&Network::default()), call);
    assert!(line.contains("err=request") && far.requests().is_empty(), "{line}");
}
