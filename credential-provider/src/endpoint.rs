//! A registry endpoint: `host[:port][/path]`, the host possibly with globs. What the kubelet makes of an entry of
//! `matchImages`, of a key of `auths` and of an image name alike, and when it lets one stand for another.
//!
//! The rules are those of `URLsMatchStr` and `BasicDockerKeyring` in the kubelet's `pkg/credentialprovider`,
//! including those that surprise: the port must be equal, the path is a plain prefix that knows no segments.

mod glob;
mod url;

use thiserror::Error;

/// A registry endpoint as the kubelet reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, globs included.
    authority: Vec<u8>,
    /// Percent-decoded path; empty or beginning with `/`.
    path: Vec<u8>,
}

/// Why a text is no endpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// A byte below 0x20, or 0x7f.
    #[error("it holds a control character")]
    ControlCharacter,
    /// A character that no host name may have.
    #[error("{0:?} may not stand in a host name")]
    Character(char),
    /// What follows the colon is not a number.
    #[error("{0:?} is not a port number")]
    Port(String),
    /// Square brackets around something that is no IPv6 address, or not at the start of the host.
    #[error("square brackets may only enclose an IPv6 address")]
    IpLiteral,
    /// A percent sign without two hexadecimal digits, or one that hides an ASCII character of the host.
    #[error("it holds an invalid percent escape")]
    Escape,
}

impl Endpoint {
    /// Reads an endpoint without a scheme, as the kubelet reads `matchImages` and image names.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let (authority, path) = url::split(text)?;
        Ok(Self { authority, path })
    }

    /// Reads a key of `auths`, as the kubelet does when it files credentials: a scheme is dropped, and
    /// so is the API path `/v1/` or `/v2/`, with which `docker login` once wrote its keys.
    pub fn parse_auths_key(text: &str) -> Result<Self, EndpointError> {
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let Self { authority, mut path } = Self::parse(bare)?;
        if path.starts_with(b"/v1/") || path.starts_with(b"/v2/") {
            path.drain(..3);
        }
        if path == b"/" {
            path.clear();
        }
        Ok(Self { authority, path })
    }

    /// Whether credentials of this endpoint are for `target`: same number of host labels, each matched by
    /// its glob, same port, and a path that `target`'s begins with.
    pub fn covers(&self, target: &Self) -> bool {
        self.covers_host(target) && target.path.starts_with(&self.path)
    }

    /// [`covers`](Self::covers), the paths left aside.
    pub fn covers_host(&self, target: &Self) -> bool {
        split_port(&self.authority).1 == split_port(&target.authority).1 && self.covers_name(target)
    }

    /// [`covers_host`](Self::covers_host), the ports left aside.
    pub fn covers_name(&self, target: &Self) -> bool {
        let ((host, _), (target_host, _)) = (split_port(&self.authority), split_port(&target.authority));
        labels(host).count() == labels(target_host).count()
            && labels(host).zip(labels(target_host)).all(|(glob, label)| glob::matches(glob, label))
    }

    /// Host, port and path in one text: the string by which the kubelet sorts credentials.
    pub fn key(&self) -> Vec<u8> {
        [self.authority.as_slice(), &self.path].concat()
    }

    /// Whether the host is spelled out, so that the endpoint names one registry.
    pub fn is_literal(&self) -> bool {
        !self.authority.contains(&b'*')
    }

    /// The percent-decoded path; empty or beginning with `/`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Host and port apart, as texts; the port is empty where there is none.
    pub fn host_and_port(&self) -> (String, String) {
        let (host, port) = split_port(&self.authority);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(host), text(port))
    }

    /// Host and port, globs included.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }
}

fn labels(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    host.split(|byte| *byte == b'.')
}

/// Host and port as Go's `net.SplitHostPort` separates them; without a port all of it is host, brackets of
/// an IPv6 address included.
fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    let whole = (authority, b"".as_slice());
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else { return whole };
    let (host, port) = authority.split_at(colon);
    let port = port.strip_prefix(b":").unwrap_or_default();
    if let Some(inner) = host.strip_prefix(b"[") {
        let address = inner.strip_suffix(b"]").filter(|inner| !inner.iter().any(|byte| b"[]".contains(byte)));
        return address.map_or(whole, |address| (address, port));
    }
    if host.iter().chain(port).any(|byte| b":[]".contains(byte)) { whole } else { (host, port) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Endpoint, EndpointError};

    fn covers(pattern: &str, target: &str) -> bool {
        Endpoint::parse(pattern).unwrap().covers(&Endpoint::parse(target).unwrap())
    }

    #[test]
    fn the_rules_that_surprise() {
        assert!(!covers("registry.io", "registry.io:5000/app"), "the port must be equal");
        assert!(!covers("registry.io:443", "registry.io/app"), "in both directions");
        assert!(covers("registry.io/team", "registry.io/team-b/app"), "a path is a plain prefix");
        assert!(!covers("registry.io/*", "registry.io/app"), "and no glob");
        assert!(!covers("*.io", "a.registry.io/app"), "a star is one label");
        assert!(covers("registry.io?x", "registry.io/app"), "a question mark ends the pattern");
    }

    #[test]
    fn keys_of_auths_lose_scheme_and_api_path() {
        for (text, key) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://registry:5000", "registry:5000"),
            ("https://registry/v2/team", "registry/team"),
            ("registry/v2", "registry/v2"),
            ("user:password@registry", "registry"),
        ] {
            assert_eq!(Endpoint::parse_auths_key(text).unwrap().key(), key.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_named() {
        assert_eq!(Endpoint::parse("a\u{1}"), Err(EndpointError::ControlCharacter));
        assert_eq!(Endpoint::parse("a b"), Err(EndpointError::Character(' ')));
        assert_eq!(Endpoint::parse("a:b"), Err(EndpointError::Port("b".into())));
        assert_eq!(Endpoint::parse("a[b]"), Err(EndpointError::IpLiteral));
        assert_eq!(Endpoint::parse("a/%zz"), Err(EndpointError::Escape));
    }

    proptest! {
        #[test]
        fn any_two_texts_are_compared_without_a_panic(one in "\\PC{0,20}", other in "[a-z.:/%\\[\\]*?]{0,20}") {
            if let (Ok(one), Ok(other)) = (Endpoint::parse(&one), Endpoint::parse(&other)) {
                let _either = (one.covers(&other), other.covers(&one));
            }
        }
    }
}
