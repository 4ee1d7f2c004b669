//! The host of a URL.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::UrlError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// In lower case.
    Name(String),
    Address(IpAddr),
}

impl Host {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(UrlError::Host)?;
            let address = inner.parse::<Ipv6Addr>().ok().ok_or(UrlError::Host)?;
            return Ok(Self::Address(address.into()));
        }
        // A bare IPv6 address has no place for its port.
        match text.parse() {
            Ok(IpAddr::V4(address)) => Ok(Self::Address(address.into())),
            _ if is_dns_name(text) => Ok(Self::Name(text.to_ascii_lowercase())),
            _ => Err(UrlError::Host),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Host and port of `host[:port]`, the brackets of an IPv6 address kept.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), UrlError> {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    if authority.starts_with('[') && end_of_host == 0 {
        return Err(UrlError::Host);
    }
    let (bracketed, rest) = authority.split_at(end_of_host);
    let Some(colon) = rest.find(':') else { return Ok((authority, None)) };
    let host = authority.get(..bracketed.len() + colon).unwrap_or_default();
    let digits = rest.get(colon + 1..).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(UrlError::Port),
        Ok(port) => Ok((host, Some(port))),
    }
}

/// Whether `text` is a name that DNS can be asked for. A last label of digits only would be read as an IPv4
/// address by some (`127.1`), so it is none.
fn is_dns_name(text: &str) -> bool {
    let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && labels.iter().all(|label| is_label(label)) && !labels.last().is_none_or(is_number)
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(allowed)
}
