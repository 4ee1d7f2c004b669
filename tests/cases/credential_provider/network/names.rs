//! Names that a name server is asked for.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Instant;

use tempfile::TempDir;
use tripod_credential_provider::http::{Network, Resolver};
use tripod_credential_provider::step::Deadline;

use super::far::Far;
use super::{LONG, SHORT, client, complaint, file, get};

const NAME: &str = "api.example.com";
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// Starts a name server that answers each datagram with those that `answer` makes of it.
fn serve(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for reply in answer(&buffer[..length]) {
                socket.send_to(&reply, from).expect("an answer sent");
            }
        }
    });
    address
}

/// The answer to `question`: a code, flags of the first byte, and an address if it asks for IPv4.
fn reply(question: &[u8], code: u8, flags: u8, address: Option<Ipv4Addr>) -> Vec<u8> {
    let is_v4 = question[question.len() - 4..] == [0, 1, 0, 1];
    let mut bytes = question.to_vec();
    bytes[2] = 0x81 | flags;
    bytes[3] = 0x80 | code;
    if let Some(address) = address.filter(|_| is_v4) {
        bytes[7] = 1;
        // The name at offset 12, A, IN, 60 seconds, four bytes.
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}

fn resolver(folder: &TempDir, server: SocketAddr) -> Resolver {
    let resolv_conf = file(folder, "resolv.conf", &format!("nameserver {}\n", server.ip()));
    let hosts = file(folder, "hosts", "127.0.0.2 known.example.com\n");
    Resolver { hosts, resolv_conf, port: server.port() }
}

/// What the resolver says about NAME, asking `server`.
fn lookup(server: SocketAddr) -> Result<Vec<IpAddr>, String> {
    let folder = TempDir::new().expect("a temporary folder");
    let found = resolver(&folder, server).addresses(NAME, Deadline::from_now(LONG));
    found.map_err(|error| error.to_string())
}

#[test]
fn a_name_is_looked_up_and_its_host_asked() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = serve(|question| vec![reply(question, NO_ERROR, 0, Some(Ipv4Addr::LOCALHOST))]);
    let far = Far::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let network = Network { resolver: resolver(&folder, server), ..Network::default() };
    let url = format!("http://{NAME}:{}", far.address.port());
    client(&network).call(get(&url).metadata()).expect("an answer");
    assert!(far.requests()[0].to_lowercase().contains(&format!("host: {NAME}:")), "{:?}", far.requests());
}

#[test]
fn what_is_known_here_is_not_asked_for() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = serve(|_| panic!("nobody should ask"));
    let resolver = resolver(&folder, server);
    for (host, address) in [
        ("known.example.com", "127.0.0.2"),
        ("localhost", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ] {
        let found = resolver.addresses(host, Deadline::from_now(LONG)).expect("an address");
        assert_eq!(found[0].to_string(), address);
    }
}

#[test]
fn the_next_address_is_tried() {
    let folder = TempDir::new().expect("a temporary folder");
    let far = Far::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let hosts = file(&folder, "hosts", &format!("127.0.0.9 {NAME}\n127.0.0.1 {NAME}\n"));
    let network = Network { resolver: Resolver { hosts, ..Resolver::default() }, ..Network::default() };
    client(&network)
        .call(get(&format!("http://{NAME}:{}", far.address.port())).metadata())
        .expect("an answer");
}

#[test]
fn a_forged_answer_is_passed_over() {
    let server = serve(|question| {
        let mut forged = reply(question, NO_ERROR, 0, Some(Ipv4Addr::new(6, 6, 6, 6)));
        forged[0] ^= 0xff;
        vec![b"x".to_vec(), forged, reply(question, NO_ERROR, 0, Some(Ipv4Addr::LOCALHOST))]
    });
    assert_eq!(lookup(server).expect("an address"), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
}

#[test]
fn a_long_answer_is_fetched_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let socket = UdpSocket::bind(address).expect("the same port for datagrams");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let reply = reply(&buffer[..length], NO_ERROR, 2, None);
            socket.send_to(&reply, from).expect("an answer sent");
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).expect("a question");
            let reply = reply(&question, NO_ERROR, 0, Some(Ipv4Addr::new(10, 1, 1, 1)));
            let length = u16::try_from(reply.len()).expect("a short answer").to_be_bytes();
            stream.write_all(&[&length[..], &reply].concat()).expect("an answer sent");
        }
    });
    assert_eq!(lookup(address).expect("an address"), [IpAddr::from([10, 1, 1, 1])]);
}

#[test]
fn why_there_is_no_address() {
    for (code, why) in [
        (NO_SUCH_NAME, "says that api.example.com does not exist"),
        (NO_ERROR, "says that api.example.com has no address"),
        (SERVER_FAILURE, "answers SERVFAIL about api.example.com"),
    ] {
        let server = serve(move |question| vec![reply(question, code, 0, None)]);
        assert_eq!(lookup(server).expect_err("no address"), format!("{server} {why}"));
    }
}

#[test]
fn the_next_server_is_asked() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = serve(|question| vec![reply(question, NO_ERROR, 0, Some(Ipv4Addr::LOCALHOST))]);
    let mut resolver = resolver(&folder, server);
    // Nobody listens at the first one's port: the kernel says so.
    resolver.resolv_conf = file(&folder, "two.conf", "nameserver 127.0.0.3\nnameserver 127.0.0.1\n");
    let found = resolver.addresses(NAME, Deadline::from_now(LONG)).expect("an address");
    assert_eq!(found, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
}

#[test]
fn one_family_is_enough() {
    let server = serve(|question| {
        let reply = reply(question, NO_ERROR, 0, Some(Ipv4Addr::LOCALHOST));
        if reply[7] == 1 { vec![reply] } else { Vec::new() }
    });
    let start = Instant::now();
    assert_eq!(lookup(server).expect("an address").len(), 1);
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_name_that_one_family_does_not_have_is_asked_by_the_other() {
    for code in [NO_SUCH_NAME, NO_ERROR, SERVER_FAILURE] {
        let folder = TempDir::new().expect("a temporary folder");
        let server = serve(move |question| {
            let answer = reply(question, NO_ERROR, 0, Some(Ipv4Addr::LOCALHOST));
            vec![if answer[7] == 1 { answer } else { reply(question, code, 0, None) }]
        });
        let far = Far::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
        let network = Network { resolver: resolver(&folder, server), ..Network::default() };
        let url = format!("http://{NAME}:{}", far.address.port());
        let start = Instant::now();
        client(&network).call(get(&url).metadata()).expect("an answer");
        assert!(start.elapsed() < LONG / 2, "code {code}");
    }
}

#[test]
fn a_silent_server_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = serve(|_| Vec::new());
    let network = Network { resolver: resolver(&folder, server), ..Network::default() };
    let line = complaint(&client(&network), get(&format!("https://{NAME}")).patience(SHORT));
    assert!(
        line.contains(&format!("err=timeout while=resolve host={NAME} servers={server} after=0.")),
        "{line}"
    );
    assert!(line.contains("/etc/resolv.conf"), "{line}");
}
