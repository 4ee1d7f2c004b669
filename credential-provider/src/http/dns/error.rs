//! Why a name has no address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

/// Why a name has no address.
#[derive(Debug, Error)]
pub enum DnsError {
    /// No name server answered in time.
    #[error("no answer from {servers} about {host}")]
    Silent {
        /// The name.
        host: String,
        /// Who was asked, joined by commas.
        servers: String,
        /// How long was waited.
        after: Duration,
    },
    /// It does not exist.
    #[error("{server} says that {host} does not exist")]
    NoSuchName {
        /// The name.
        host: String,
        /// Who says so.
        server: SocketAddr,
    },
    /// It exists, without an address.
    #[error("{server} says that {host} has no address")]
    NoAddress {
        /// The name.
        host: String,
        /// Who says so.
        server: SocketAddr,
    },
    /// The server cannot or will not answer.
    #[error("{server} answers {code} about {host}")]
    Refused {
        /// The name.
        host: String,
        /// Who was asked.
        server: SocketAddr,
        /// The response code, as RFC 1035 and its successors spell it.
        code: &'static str,
    },
    /// The server cannot be reached.
    #[error("cannot ask {server} about {host}: {source}")]
    Unreachable {
        /// The name.
        host: String,
        /// Who was to be asked.
        server: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Not the name of a host.
    #[error("{host:?} cannot be asked for")]
    Name {
        /// The name.
        host: String,
    },
    /// The kernel gives no random numbers, without which answers can be forged.
    #[error("the kernel gives no random numbers")]
    Random,
}

impl DnsError {
    /// Whether the same question may be answered a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Refused { .. } | Self::Unreachable { .. })
    }
}
