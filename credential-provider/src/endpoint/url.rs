//! The authority and path of a URL as Go's `net/url` reads them (Go 1.26, which builds the kubelet since
//! 1.37), because the kubelet puts `https://` before a pattern and lets that package cut it up.
//!
//! The consequences are not what a reader of a pattern expects: `?` and `#` end it, `user@` is dropped, the path is
//! percent-decoded, `[` opens an IPv6 address and nothing else.

use std::net::Ipv6Addr;

use super::EndpointError;

/// Where a percent sign stands decides what may be escaped there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
    Elsewhere,
}

/// Host (with port) and decoded path of `text`, a URL without its scheme.
pub(super) fn split(text: &str) -> Result<(Vec<u8>, Vec<u8>), EndpointError> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(EndpointError::ControlCharacter);
    }
    let hierarchy = url.split_once('?').map_or(url, |(before, _)| before);
    let (authority, path) = hierarchy.split_at(hierarchy.find('/').unwrap_or(hierarchy.len()));
    let host = host(strip_userinfo(authority)?)?;
    let path = unescape(path.as_bytes(), Place::Elsewhere)?;
    unescape(fragment.as_bytes(), Place::Elsewhere)?;
    Ok((host, path))
}

fn strip_userinfo(authority: &str) -> Result<&str, EndpointError> {
    let Some((userinfo, host)) = authority.rsplit_once('@') else { return Ok(authority) };
    if let Some(found) =
        userinfo.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._:~!$&'()*+,;=%@".contains(*c))
    {
        return Err(EndpointError::Character(found));
    }
    unescape(userinfo.as_bytes(), Place::Elsewhere)?;
    Ok(host)
}

fn host(text: &str) -> Result<Vec<u8>, EndpointError> {
    match text.rfind('[') {
        Some(0) => ip_literal(text),
        Some(_) => Err(EndpointError::IpLiteral),
        None => {
            check_port(text.find(':').and_then(|colon| text.get(colon..)).unwrap_or_default())?;
            unescape(text.as_bytes(), Place::Host)
        }
    }
}

fn ip_literal(text: &str) -> Result<Vec<u8>, EndpointError> {
    let (inner, port) =
        text.strip_prefix('[').and_then(|t| t.rsplit_once(']')).ok_or(EndpointError::IpLiteral)?;
    check_port(port)?;
    // RFC 6874: "%25" introduces the zone of a link-local address.
    let (address, zone) = inner.split_at(inner.find("%25").unwrap_or(inner.len()));
    let mut address = unescape(address.as_bytes(), Place::Host)?;
    address.extend(unescape(zone.as_bytes(), Place::Zone)?);
    if !is_ipv6(&address) {
        return Err(EndpointError::IpLiteral);
    }
    Ok([b"[", address.as_slice(), b"]", port.as_bytes()].concat())
}

fn is_ipv6(literal: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(literal) else { return false };
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().is_ok_and(|parsed| match zone {
        Some(zone) => !zone.is_empty() && parsed.to_ipv4_mapped().is_none(),
        None => true,
    })
}

fn check_port(text: &str) -> Result<(), EndpointError> {
    let valid =
        text.is_empty() || text.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    valid.then_some(()).ok_or_else(|| EndpointError::Port(text.trim_start_matches(':').to_owned()))
}

fn unescape(text: &[u8], place: Place) -> Result<Vec<u8>, EndpointError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        if byte == b'%' {
            decoded.push(escaped(rest, place)?);
            left = rest.get(2..).unwrap_or_default();
            continue;
        }
        if place != Place::Elsewhere && byte.is_ascii() && !is_host_byte(byte) {
            return Err(EndpointError::Character(char::from(byte)));
        }
        decoded.push(byte);
        left = rest;
    }
    Ok(decoded)
}

/// The byte that the two digits after a percent sign stand for.
fn escaped(digits: &[u8], place: Place) -> Result<u8, EndpointError> {
    let digit = |at: usize| digits.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(EndpointError::Escape) };
    let byte = u8::try_from(high * 16 + low).ok().ok_or(EndpointError::Escape)?;
    let allowed = match place {
        // Only bytes beyond ASCII may be escaped in a host name.
        Place::Host => !byte.is_ascii() || byte == b'%',
        Place::Zone => byte == b'%' || byte == b' ' || is_host_byte(byte),
        Place::Elsewhere => true,
    };
    allowed.then_some(byte).ok_or(EndpointError::Escape)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!\"$&'()*+,:;<=>[]".contains(&byte)
}
