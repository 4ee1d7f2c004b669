//! TLS with a private authority.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tripod_credential_provider::http::{Network, NetworkVariables};

use super::far::{self, Far};
use super::{LONG, SHORT, client, complaint, file, get};

/// An authority of its own, and the settings of a server that it vouches for.
pub(super) struct Vouched {
    pub(super) authority: String,
    config: Arc<ServerConfig>,
}

impl Vouched {
    /// For a server of these names.
    pub(super) fn new(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a private key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        Self { authority, config: Arc::new(config) }
    }

    /// A server that answers one request per connection, encrypted.
    pub(super) fn serve(&self) -> Far {
        let config = Arc::clone(&self.config);
        Far::serving(move |stream, _| answer(stream, &config))
    }
}

fn answer(stream: &mut TcpStream, config: &Arc<ServerConfig>) {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a TLS connection");
    let mut stream = StreamOwned::new(connection, stream);
    if far::header(&mut stream).ends_with(b"\r\n\r\n") {
        let _gone =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure");
        stream.conn.send_close_notify();
        let _gone = stream.flush();
    }
}

fn https(far: &Far) -> String {
    format!("https://{}", far.address)
}

#[test]
fn the_admins_authority_is_trusted_besides_the_systems() {
    let folder = TempDir::new().expect("a temporary folder");
    let vouched = Vouched::new(&["127.0.0.1"]);
    let far = vouched.serve();
    let ca_file = Some(file(&folder, "ca.pem", &vouched.authority));
    let client = client(&Network { ca_file, ..Network::default() });
    for _ in 0..2 {
        assert_eq!(client.call(get(&https(&far))).expect("an answer").body.expose(), b"secure");
    }
}

#[test]
fn the_environment_names_other_authorities() {
    let folder = TempDir::new().expect("a temporary folder");
    let vouched = Vouched::new(&["127.0.0.1"]);
    let ssl_cert_file = Some(file(&folder, "ca.pem", &vouched.authority));
    let variables = NetworkVariables { ssl_cert_file, ..NetworkVariables::default() };
    let client = client(&Network { variables, ..Network::default() });
    client.call(get(&https(&vouched.serve()))).expect("an answer");
}

#[test]
fn others_are_not_trusted() {
    let far = Vouched::new(&["127.0.0.1"]).serve();
    let line = complaint(&client(&Network::default()), get(&https(&far)).tries(3));
    let peer = far.address;
    assert!(line.contains(&format!("err=tls peer={peer}")) && line.contains("UnknownIssuer"), "{line}");
    assert!(line.contains("hint=add the certificate of its authority with caFile"), "{line}");
}

#[test]
fn a_certificate_is_for_its_names_only() {
    let folder = TempDir::new().expect("a temporary folder");
    let vouched = Vouched::new(&["registry.example.com"]);
    let ca_file = Some(file(&folder, "ca.pem", &vouched.authority));
    let line = complaint(&client(&Network { ca_file, ..Network::default() }), get(&https(&vouched.serve())));
    assert!(line.contains("err=tls") && line.contains("not valid for name"), "{line}");
}

#[test]
fn a_bad_file_of_authorities_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let far = Vouched::new(&["127.0.0.1"]).serve();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content, why) in
        [("empty.pem", "nothing", "holds no PEM certificate"), ("broken.pem", broken, "certificate 1 of")]
    {
        let ca_file = Some(file(&folder, name, content));
        let line = complaint(&client(&Network { ca_file, ..Network::default() }), get(&https(&far)));
        assert!(line.contains("err=trust") && line.contains(why) && line.contains(name), "{line}");
    }
}

#[test]
fn a_bad_file_of_authorities_is_not_read_without_tls() {
    let far = Far::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let ca_file = Some("/nonexistent/ca.pem".into());
    client(&Network { ca_file, ..Network::default() }).call(get(&far.url())).expect("an answer");
}

#[test]
fn a_far_end_that_speaks_no_tls() {
    let silent = Far::serving(|_, _| std::thread::sleep(LONG));
    let line = complaint(&client(&Network::default()), get(&https(&silent)).patience(SHORT));
    assert!(line.contains("err=timeout while=tls"), "{line}");
    let plain = Far::serving(|stream, _| {
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n");
    });
    let line = complaint(&client(&Network::default()), get(&https(&plain)));
    assert!(line.contains("err=tls"), "{line}");
}
