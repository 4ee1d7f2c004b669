//! `NO_PROXY`: who is asked directly. Read as Go reads it, because the admin has written it for the kubelet's
//! eyes too: `*`; a name, for itself and what is below it; `.name` or `*.name`, for what is below it only; an
//! address; a CIDR; all but the last with a port if wanted. This node itself is never asked through a proxy.

use std::net::IpAddr;

use super::url::Url;

/// Whether `url` is asked directly.
pub(super) fn covers(list: &str, url: &Url) -> bool {
    url.is_loopback() || list.split(',').map(str::trim).any(|entry| matches(entry, url))
}

fn matches(entry: &str, url: &Url) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = entry.split_once('/') {
        return url.address().is_some_and(|address| lies_in(address, network, length));
    }
    let (host, port) = split_port(entry);
    port.is_none_or(|port| port == url.port().to_string()) && matches_host(host, url)
}

fn matches_host(entry: &str, url: &Url) -> bool {
    if let Some(address) = url.address() {
        let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']')).unwrap_or(entry);
        return bare.parse() == Ok(address);
    }
    let host = url.host();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let entry = entry.to_ascii_lowercase();
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&entry);
    let below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| !rest.is_empty());
    if entry.starts_with('.') { below(entry) } else { host == entry || below(&format!(".{entry}")) }
}

/// Host and port of an entry; an IPv6 address has a port only behind brackets.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn lies_in(address: IpAddr, network: &str, length: &str) -> bool {
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    // A shift by the whole width, for a prefix of no bits, leaves nothing to compare.
    let beyond = |bits: u128, host_bits| bits.checked_shr(host_bits).unwrap_or(0);
    length <= width && beyond(address, width - length) == beyond(network, width - length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::covers;
    use crate::http::Url;

    fn direct(list: &str, url: &str) -> bool {
        covers(list, &Url::parse(url).unwrap())
    }

    #[test]
    fn who_is_asked_directly() {
        for (list, url) in [
            ("*", "https://a.example.com"),
            ("example.com", "https://example.com"),
            ("example.com", "https://a.example.com"),
            ("Example.COM:8443", "https://a.example.com:8443"),
            (".example.com", "https://a.example.com"),
            ("*.example.com", "https://a.example.com"),
            ("b, a.example.com ,c", "https://a.example.com."),
            ("10.0.0.0/8", "https://10.1.2.3"),
            ("0.0.0.0/0", "https://10.1.2.3"),
            ("fd00::/8", "https://[fd00::1]"),
            ("10.1.2.3", "https://10.1.2.3:8443"),
            ("10.1.2.3:443", "https://10.1.2.3"),
            ("::/0", "https://[fd00::1]"),
            ("fd00::1", "https://[fd00::1]"),
            ("[fd00::1]:443", "https://[fd00::1]"),
            ("", "http://127.0.0.1:3128"),
            ("", "https://localhost"),
        ] {
            assert!(direct(list, url), "{list} {url}");
        }
    }

    #[test]
    fn who_is_not() {
        for (list, url) in [
            ("", "https://a.example.com"),
            (",,", "https://a.example.com"),
            (".example.com", "https://example.com"),
            ("ample.com", "https://example.com"),
            ("example.com:8443", "https://example.com"),
            ("example.com", "https://example.com.evil.net"),
            ("10.0.0.0/8", "https://11.1.2.3"),
            ("10.0.0.0/33", "https://10.0.0.0"),
            ("10.0.0.0/x", "https://10.0.0.0"),
            ("10.0.0.0/8", "https://10.example.com"),
            ("::/0", "https://10.1.2.3"),
            ("10.1.2.3:80", "https://10.1.2.3"),
        ] {
            assert!(!direct(list, url), "{list} {url}");
        }
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "[*.a-z0-9:/\\[\\], é]{0,30}", v6 in any::<bool>()) {
            let url = if v6 { "https://[fd00::1]:1" } else { "https://a.b" };
            let _either = direct(&list, url);
        }

        #[test]
        fn a_network_covers_what_lies_in_it(bits in any::<u32>(), length in 0_u32..=32) {
            let address = std::net::Ipv4Addr::from_bits(bits);
            let (list, url) = (format!("{address}/{length}"), format!("https://{address}"));
            prop_assert!(direct(&list, &url));
        }
    }
}
