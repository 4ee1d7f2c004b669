//! Who is asked through a proxy, and what the proxy gets to see.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tripod_credential_provider::http::{Client, Network, NetworkVariables, ProxyPolicy, Resolver};
use tripod_credential_provider::secret::Secret;
use tripod_credential_provider::step::Deadline;

use super::far::{self, Far};
use super::secure::Vouched;
use super::{LONG, SECRET, SHORT, client, closed_port, complaint, file, get};

const NAME: &str = "registry.example.com";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A proxy that leads to one server, and the requests it saw.
fn proxy(target: SocketAddr) -> (Far, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&seen);
    let far = Far::serving(move |stream, _| {
        let header = far::header(stream);
        noted.lock().expect("the list").push(String::from_utf8(header).expect("text"));
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("an answer sent");
        let mut target = TcpStream::connect(target).expect("the server");
        let (mut back, mut there) =
            (target.try_clone().expect("a copy"), stream.try_clone().expect("a copy"));
        std::thread::spawn(move || std::io::copy(&mut there, &mut target));
        let _gone = std::io::copy(&mut back, stream);
        let _gone = stream.shutdown(std::net::Shutdown::Both);
    });
    (far, seen)
}

/// A network where NAME is this machine and `proxy` is to be taken, with a password.
fn network(folder: &TempDir, proxy: SocketAddr) -> Network {
    let hosts = file(folder, "hosts", &format!("127.0.0.1 {NAME}\n"));
    let url = Some(Secret::new(format!("http://user:{SECRET}@{proxy}")));
    Network {
        variables: NetworkVariables {
            https_proxy: url.clone(),
            http_proxy: url,
            ..NetworkVariables::default()
        },
        resolver: Resolver { hosts, ..Resolver::default() },
        ..Network::default()
    }
}

#[test]
fn the_proxy_sees_whom_and_not_what() {
    let folder = TempDir::new().expect("a temporary folder");
    let vouched = Vouched::new(&[NAME]);
    let far = vouched.serve();
    let (proxy, seen) = proxy(far.address);
    let mut network = network(&folder, proxy.address);
    network.ca_file = Some(file(&folder, "ca.pem", &vouched.authority));
    // A port at which nobody listens: only the proxy knows the way.
    let port = closed_port();
    let reply = client(&network).call(get(&format!("https://{NAME}:{port}/token"))).expect("an answer");
    assert_eq!(reply.body.expose(), b"secure");
    let seen = seen.lock().expect("the list").concat();
    assert!(seen.starts_with(&format!("CONNECT {NAME}:{port} HTTP/1.1\r\n")), "{seen}");
    assert!(seen.contains("Proxy-Authorization: Basic ") && !seen.contains(SECRET), "{seen}");
}

#[test]
fn who_is_named_by_no_proxy_is_asked_directly() {
    let folder = TempDir::new().expect("a temporary folder");
    let far = Far::answering(&[OK]);
    let (proxy, seen) = proxy(far.address);
    let mut network = network(&folder, proxy.address);
    network.variables.no_proxy = Some("other.example.com, .example.com".into());
    let url = format!("http://{NAME}:{}", far.address.port());
    client(&network).call(get(&url).allow_plain(true)).expect("an answer");
    assert!(seen.lock().expect("the list").is_empty());
    assert_eq!(far.requests().len(), 1);
}

#[test]
fn metadata_is_never_asked_through_a_proxy() {
    let folder = TempDir::new().expect("a temporary folder");
    let far = Far::answering(&[OK]);
    let (proxy, seen) = proxy(far.address);
    let network = network(&folder, proxy.address);
    let url = format!("http://{NAME}:{}", far.address.port());
    client(&network).call(get(&url).metadata()).expect("an answer");
    assert!(seen.lock().expect("the list").is_empty());
    client(&network).call(get(&url).allow_plain(true)).expect("an answer");
    assert_eq!(seen.lock().expect("the list").len(), 1, "others are");
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let folder = TempDir::new().expect("a temporary folder");
    let refusing = Far::answering(&[
        "HTTP/1.1 407 hunter2-correct-horse\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    let line = complaint(&client(&network(&folder, refusing.address)), get(&format!("https://{NAME}")));
    assert!(line.contains(&format!("err=proxy peer={NAME}:443 proxy={}", refusing.address)), "{line}");
    assert!(line.ends_with("why=\"proxy server responded 407\""), "{line}");
}

#[test]
fn a_proxy_cannot_outlast_the_run() {
    let folder = TempDir::new().expect("a temporary folder");
    let dripping = Far::reading(|stream, _| {
        let _gone = stream.write_all(b"HTTP/1.1 200 ");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let start = Instant::now();
    let client = Client::new(&network(&folder, dripping.address), Deadline::from_now(SHORT));
    let line = complaint(&client, get(&format!("https://{NAME}")).patience(LONG));
    assert!(line.contains(&format!("err=timeout while=answer peer={NAME}:443 proxy=")), "{line}");
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let port = closed_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let line = complaint(&client(&network(&folder, address)), get(&format!("https://{NAME}")));
    assert!(line.contains(&format!("err=connect peer=127.0.0.1:{port}")), "{line}");
}

#[test]
fn a_useless_proxy_url_is_not_repeated() {
    let proxy = ProxyPolicy::Fixed(Secret::new(format!("socks5://user:{SECRET}@proxy:1080")));
    assert!(proxy.check().is_err());
    let line =
        complaint(&client(&Network { proxy, ..Network::default() }), get("https://registry.example.com"));
    assert!(line.contains("err=proxy why=\"the proxy URL is neither http:// nor https://\""), "{line}");
}
