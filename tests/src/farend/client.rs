//! The least client that can ask a far end, for tests of the far ends themselves.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::message::read_headers;
use super::{Request, Response, Server};
use crate::apiserver::Authority;

/// How long it waits for a far end to say more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that it reads of an answer.
const ENOUGH: u64 = 1 << 20;

/// Sends `request` as it is, with `Host` if it has none, and reads the answer.
pub fn ask(server: &Server, request: &Request) -> io::Result<Response> {
    ask_at(server.address(), request)
}

/// The same for whatever listens at `address`.
pub fn ask_at(address: SocketAddr, request: &Request) -> io::Result<Response> {
    exchange(connect(address)?, &address.to_string(), request)
}

/// The same over TLS to the server named `name`, whose certificate must be of `authority`.
pub fn ask_tls(
    server: &Server,
    authority: &Authority,
    name: &str,
    request: &Request,
) -> io::Result<Response> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.certificate().as_bytes());
    roots.add(certificate.expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name_of = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::new(config), name_of).map_err(io::Error::other)?;
    exchange(StreamOwned::new(tls, connect(server.address())?), name, request)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(mut stream: impl Read + Write, host: &str, request: &Request) -> io::Result<Response> {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut head = format!("{} {}{query} HTTP/1.1\r\n", request.method, request.path);
    if request.header("Host").is_none() {
        head += &format!("Host: {host}\r\n");
    }
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if request.header("Content-Length").is_none() {
        head += &format!("Content-Length: {}\r\n", request.body.len());
    }
    write!(stream, "{head}Connection: close\r\n\r\n")?;
    stream.write_all(&request.body)?;
    stream.flush()?;
    read_response(stream)
}

fn read_response(stream: impl Read) -> io::Result<Response> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut stream = BufReader::new(stream.take(ENOUGH));
    let mut line = String::new();
    io::BufRead::read_line(&mut stream, &mut line)?;
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| invalid(&format!("no answer: {line:?}")))?;
    let headers = read_headers(&mut stream)?;
    let mut response = Response { status, headers, body: Vec::new() };
    let length = response.value("Content-Length").and_then(|length| length.parse().ok());
    response.body = vec![0; length.ok_or_else(|| invalid("no length"))?];
    stream.read_exact(&mut response.body)?;
    Ok(response)
}
