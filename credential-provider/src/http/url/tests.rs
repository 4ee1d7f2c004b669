use proptest::prelude::*;

use super::{Url, UrlError, encode};

#[test]
fn parts_and_the_whole() {
    for (text, host, port, shown) in [
        ("https://API.Example.com", "api.example.com", 443, "https://api.example.com/"),
        ("http://169.254.169.254/latest?a=b", "169.254.169.254", 80, "http://169.254.169.254/latest?a=b"),
        ("https://[fd00:ec2::254]:8443/x", "fd00:ec2::254", 8443, "https://[fd00:ec2::254]:8443/x"),
        ("https://a:443", "a", 443, "https://a/"),
        ("HTTP://a:443", "a", 443, "http://a:443/"),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!((url.host().as_str(), url.port(), url.to_string().as_str()), (host, port, shown));
    }
}

#[test]
fn what_is_refused() {
    for (text, error) in [
        ("ftp://a", UrlError::Scheme),
        ("a.example.com", UrlError::Scheme),
        ("https://user:password@a", UrlError::UserInfo),
        ("https://good.example.com@evil.example.com", UrlError::UserInfo),
        ("https://a/#x", UrlError::Fragment),
        ("https://a#b", UrlError::Fragment),
        ("https://a/b c", UrlError::Character),
        ("https://a/\r\nHost: b", UrlError::Character),
        ("https://a\\b", UrlError::Host),
        ("https://", UrlError::Host),
        ("https://a..b", UrlError::Host),
        ("https://127.1", UrlError::Host),
        ("https://[::1", UrlError::Host),
        ("https://[fe80::1%25eth0]", UrlError::Host),
        ("https://a:0", UrlError::Port),
        ("https://a:65536", UrlError::Port),
        ("https://a:+1", UrlError::Port),
        ("https://a:", UrlError::Port),
        ("https://::1", UrlError::Port),
    ] {
        assert_eq!(Url::parse(text), Err(error), "{text}");
    }
}

#[test]
fn paths_are_put_together() {
    let base = Url::parse("https://a/base/").unwrap();
    assert_eq!(base.join("/v1/token?x=1").unwrap().to_string(), "https://a/base/v1/token?x=1");
    assert_eq!(base.with_segment("../role/a").to_string(), "https://a/base/..%2Frole%2Fa");
    assert_eq!(base.with_segment("..").to_string(), "https://a/base/%2E%2E");
    let asked = base.with_parameter("scope", "a b").with_parameter("c", "d&e");
    assert_eq!(asked.to_string(), "https://a/base/?scope=a%20b&c=d%26e");
    assert_eq!(encode("~é/"), "~%C3%A9%2F");
}

#[test]
fn what_stays_here_and_what_is_the_same() {
    let parse = |text| Url::parse(text).unwrap();
    assert!(parse("http://127.0.0.1:1").is_loopback() && parse("http://[::1]").is_loopback());
    assert!(!parse("http://127.example.com").is_loopback());
    assert!(parse("https://a/x").is_same_origin(&parse("https://A:443/y")));
    assert!(!parse("https://a").is_same_origin(&parse("http://a")));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_shown_reads_the_same(text in "(https?://)?[\\[a-z0-9.:@%/?#\\]é -]{0,24}") {
        if let Ok(url) = Url::parse(&text) {
            prop_assert_eq!(Url::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn a_segment_stays_one(segment in "\\PC{0,12}") {
        let url = Url::parse("https://a/b").unwrap().with_segment(&segment);
        prop_assert_eq!(url.path().matches('/').count(), 2);
        prop_assert!(Url::parse(&url.to_string()).is_ok());
    }
}
