//! TLS. What it costs to read the trusted certificates is paid by the first connection that is encrypted, so
//! that a run that only asks a metadata service does not pay it.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::step::{Peer, Problem, Stage};

use super::roots::Trust;
use super::tcp;

/// Encrypts connections to `https` addresses.
#[derive(Debug)]
pub(super) struct Tls {
    trust: Trust,
    config: OnceLock<Arc<ClientConfig>>,
}

/// An encrypted connection.
pub(super) struct Encrypted {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Tls {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust, config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Problem> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls_problem(&error, Peer::direct(String::new())))?
            .with_root_certificates(self.trust.load()?)
            .with_no_client_auth();
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }

    fn encrypt(
        &self,
        details: &ConnectionDetails<'_>,
        plain: Box<dyn Transport>,
    ) -> Result<Encrypted, Problem> {
        let host = details.uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .ok()
            .ok_or(Problem::Request { reason: "the host is no name that a certificate can hold" })?;
        let connection = ClientConnection::new(self.config()?, name)
            .map_err(|error| tls_problem(&error, tcp::peer(details)))?;
        let adapter = TransportAdapter::new(plain, Arc::clone(&details.current_time));
        let mut stream = StreamOwned::new(connection, adapter);
        stream.sock.set_timeout(left(details));
        stream.conn.complete_io(&mut stream.sock).map_err(|error| handshake_problem(error, details))?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Encrypted { stream, buffers })
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Encrypted>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        match chained {
            Some(plain) if details.needs_tls() && !plain.is_tls() => {
                let encrypted = self.encrypt(details, plain.boxed());
                encrypted.map(|e| Some(Either::B(e))).map_err(|problem| Error::Other(problem.into()))
            }
            other => Ok(other.map(Either::A)),
        }
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output();
        self.stream.write_all(output.get(..amount).unwrap_or(output))?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// The TLS failure behind an I/O error, if there is one.
pub(super) fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// A TLS failure in one line. The text may quote names of a certificate, which anybody may have made up.
pub(super) fn tls_problem(error: &rustls::Error, peer: Peer) -> Problem {
    let unknown_issuer = *error == rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let reason = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    Problem::Tls { peer, reason, unknown_issuer }
}

fn handshake_problem(error: io::Error, details: &ConnectionDetails<'_>) -> Problem {
    let peer = tcp::peer(details);
    if let Some(cause) = cause(&error) {
        return tls_problem(cause, peer);
    }
    match Error::from(error) {
        Error::Timeout(_) => Problem::Timeout { stage: Stage::Tls, peer, after: *details.timeout.after },
        _ => Problem::Tls {
            peer,
            reason: "the connection ended in the handshake".into(),
            unknown_issuer: false,
        },
    }
}

/// What is left of the time for connecting, of which the TCP handshake and the proxy have taken a part.
fn left(details: &ConnectionDetails<'_>) -> NextTimeout {
    let spent = match ((details.current_time)(), details.now) {
        (Instant::Exact(now), Instant::Exact(start)) => now.saturating_duration_since(start),
        _ => Duration::ZERO,
    };
    NextTimeout { after: details.timeout.after.saturating_sub(spent).into(), ..details.timeout }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").finish_non_exhaustive()
    }
}
