//! What can go wrong on the network.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::http::{DnsError, ProxyError, TrustError};

/// What happened. Displayed as the kind, then details as `name=value`.
#[derive(Debug, Error)]
pub enum Problem {
    /// The run's deadline passed before the step began.
    #[error("no-time-left")]
    NoTimeLeft,
    /// The far end did not answer in time.
    #[error("timeout while={stage} peer={peer} after={:.1}s", after.as_secs_f64())]
    Timeout {
        /// What was waited for.
        stage: Stage,
        /// Who was asked.
        peer: Peer,
        /// Time given.
        after: Duration,
    },
    /// Its name has no address, or no name server says so in time.
    #[error("{}", dns_line(.0))]
    Resolve(#[from] DnsError),
    /// No connection.
    #[error("connect peer={peer} why={:?}", plain_io(source))]
    Connect {
        /// Who was asked.
        peer: Peer,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The TLS handshake.
    #[error("tls peer={peer} why={reason:?}")]
    Tls {
        /// Who was asked.
        peer: Peer,
        /// What the handshake ended with.
        reason: String,
        /// Whether the peer's certificate comes from an authority that is not trusted here.
        unknown_issuer: bool,
    },
    /// Certificates to trust could not be read.
    #[error("trust why={:?}", .0.to_string())]
    Trust(#[from] TrustError),
    /// The proxy's settings.
    #[error("proxy why={:?}", .0.to_string())]
    ProxySettings(#[from] ProxyError),
    /// The proxy refused.
    #[error("proxy peer={peer} why={reason:?}")]
    Proxy {
        /// Who was asked, and through whom.
        peer: Peer,
        /// What it answered.
        reason: String,
    },
    /// The connection ended before the answer did.
    #[error("closed peer={peer}")]
    Closed {
        /// Who was asked.
        peer: Peer,
    },
    /// No HTTP.
    #[error("garbage peer={peer} why={reason:?}")]
    Garbage {
        /// Who was asked.
        peer: Peer,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// More than was asked for.
    #[error("too-large peer={peer} part={part} limit={limit}")]
    TooLarge {
        /// Who was asked.
        peer: Peer,
        /// What of the answer: `header` or `body`.
        part: &'static str,
        /// Bytes allowed.
        limit: u64,
    },
    /// The answer points elsewhere; credentials go nowhere but where they were meant for.
    #[error("redirect status={status} peer={peer} target={target}")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Who was asked.
        peer: Peer,
        /// Host and port it points to.
        target: String,
    },
    /// Refused by the far end.
    #[error("status status={status}{} peer={peer}", code_field(code.as_deref()))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The machine code in the body, if there is one.
        code: Option<String>,
        /// Who refused.
        peer: Peer,
    },
    /// Secrets would have gone over the network unencrypted.
    #[error("plain-http peer={peer}")]
    PlainHttp {
        /// Who would have been asked.
        peer: Peer,
    },
    /// A header with a line break, and the like: what it is made of came from a file.
    #[error("request why={reason:?}")]
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What was waited for when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The answer, from the first byte of the request to the last of the body.
    Answer,
}

/// A far end: host and port, and those of the proxy in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    authority: String,
    proxy: Option<String>,
}

impl Peer {
    /// A far end that is asked directly.
    pub fn direct(authority: String) -> Self {
        Self { authority, proxy: None }
    }

    /// A far end that is asked through `proxy`, if there is one.
    pub fn through(authority: String, proxy: Option<String>) -> Self {
        Self { authority, proxy }
    }
}

impl Problem {
    /// What the admin can do about it, where that does not depend on the step.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Resolve(_) => Some("check /etc/resolv.conf and /etc/hosts of the node"),
            Self::Tls { unknown_issuer: true, .. } => {
                Some("add the certificate of its authority with caFile")
            }
            Self::Trust(_) => Some("name a file of PEM certificates that root may read"),
            Self::ProxySettings(_) => Some("give the proxy as http://[user:password@]host:port"),
            Self::Redirect { .. } => Some("configure the address it points to, if that is to be trusted"),
            Self::PlainHttp { .. } => Some("use https"),
            _ => None,
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connect { .. } | Self::Closed { .. } => true,
            Self::Resolve(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Answer => "answer",
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)?;
        match &self.proxy {
            Some(proxy) => write!(f, " proxy={proxy}"),
            None => Ok(()),
        }
    }
}

fn dns_line(error: &DnsError) -> String {
    match error {
        DnsError::Silent { host, servers, after } => {
            format!("timeout while=resolve host={host} servers={servers} after={:.1}s", after.as_secs_f64())
        }
        _ => format!("resolve why={:?}", error.to_string()),
    }
}

/// The kernel's words without the number that `io::Error` adds.
fn plain_io(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or_else(|| text.clone(), |(words, _)| words.to_owned())
}

fn code_field(code: Option<&str>) -> String {
    code.map(|code| format!(" code={code}")).unwrap_or_default()
}
