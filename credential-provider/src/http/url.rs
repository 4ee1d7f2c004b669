//! Addresses of the services that are asked: a strict subset of URLs, so that it is never in doubt which
//! host a secret goes to.

mod host;

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use host::Host;

/// `http[s]://host[:port][/path][?query]`, without user, password or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    plain: bool,
    host: Host,
    port: u16,
    /// Begins with `/`.
    path: String,
    /// Without its question mark.
    query: Option<String>,
}

/// Why a text is no such address. None of them repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    #[error("it does not begin with https:// or http://")]
    Scheme,
    /// `user:password@`.
    #[error("it holds a user name or a password")]
    UserInfo,
    /// `#`.
    #[error("it holds a fragment")]
    Fragment,
    /// A space, a control character, or one beyond ASCII.
    #[error("it holds a character that must be percent-encoded")]
    Character,
    /// Neither a DNS name nor an IP address.
    #[error("its host is neither a DNS name nor an IP address")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
}

impl Url {
    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (plain, rest) = scheme(text).ok_or(UrlError::Scheme)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = host::split_port(authority)?;
        let (path, query) = path_and_query(rest)?;
        let port = port.unwrap_or(if plain { 80 } else { 443 });
        Ok(Self { plain, host: Host::parse(host)?, port, path, query })
    }

    /// The host: a DNS name in lower case, or an IP address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// The host, if it is an IP address.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Name(_) => None,
            Host::Address(address) => Some(address),
        }
    }

    /// The port, spelled out or the scheme's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands in a `Host` header, and in a signature: the port only where it is not the scheme's.
    pub fn authority(&self) -> String {
        let default = if self.plain { 80 } else { 443 };
        if self.port == default { self.host.to_string() } else { self.host_and_port() }
    }

    /// `host:port`, the port always there.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path, beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether it is `http://`.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it stays on this node.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// Whether both name the same scheme, host and port.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.plain == other.plain && self.host == other.host && self.port == other.port
    }

    /// This address with `path` (and its query, if it has one) put after its own path.
    pub fn join(&self, path: &str) -> Result<Self, UrlError> {
        let (path, query) = path_and_query(path)?;
        Ok(Self { path: format!("{}{path}", self.path.trim_end_matches('/')), query, ..self.clone() })
    }

    /// This address with one more path segment, percent-encoded: it cannot leave the path it is put into.
    pub fn with_segment(&self, segment: &str) -> Self {
        let encoded = match segment {
            "." => "%2E".into(),
            ".." => "%2E%2E".into(),
            _ => encode(segment),
        };
        Self { path: format!("{}/{encoded}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// This address with one more parameter in its query, percent-encoded.
    pub fn with_parameter(&self, name: &str, value: &str) -> Self {
        let parameter = format!("{}={}", encode(name), encode(value));
        let query = match &self.query {
            Some(query) if !query.is_empty() => format!("{query}&{parameter}"),
            _ => parameter,
        };
        Self { query: Some(query), ..self.clone() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http" } else { "https" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

/// `text` with everything but RFC 3986's unreserved characters percent-encoded, as AWS and form bodies want it.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some((true, rest)),
        "https" => Some((false, rest)),
        _ => None,
    }
}

fn path_and_query(text: &str) -> Result<(String, Option<String>), UrlError> {
    if text.contains('#') {
        return Err(UrlError::Fragment);
    }
    // What RFC 3986 allows in a path and a query, and nothing that HTTP libraries may read in two ways.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/?-._~%!$&'()*+,;=:@".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err(UrlError::Character);
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (text, None),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((format!("{slash}{path}"), query))
}

#[cfg(test)]
mod tests;
