//! Why a pattern of `matchImages` that looks as if it were for a registry is not.

use crate::endpoint::Endpoint;
use crate::error::chain;
use crate::pattern::Pattern;

/// Why the kubelet does not take `pattern` for `wanted`, where it names that registry or one like it.
pub fn reason(pattern: &str, wanted: &Endpoint) -> Option<String> {
    let (host, port) = wanted.host_and_port();
    if let Err(error) = Pattern::parse(pattern) {
        return pattern.contains(&host).then(|| format!("{pattern:?}: {}", chain(&error)));
    }
    let near = Endpoint::parse(pattern).ok()?;
    let (other, other_port) = near.host_and_port();
    if near.covers(wanted) {
        None
    } else if near.covers_name(wanted) && other_port != port {
        Some(format!("{pattern:?} has another port, and ports must be equal"))
    } else if near.covers_name(wanted) {
        let path = String::from_utf8_lossy(near.path()).into_owned();
        Some(format!("{pattern:?} is only for paths that begin with {path:?}"))
    } else if other.starts_with("*.") && host.ends_with(other.trim_start_matches('*')) {
        Some(format!("in {pattern:?} the \"*\" is one part of the name, not several"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::reason;
    use crate::endpoint::Endpoint;

    #[test]
    fn a_near_miss_is_explained_and_nothing_else() {
        let why = |pattern: &str| reason(pattern, &Endpoint::parse("a.example.com:5000/team/app").unwrap());
        for (pattern, said) in [
            ("a.example.com", "has another port, and ports must be equal"),
            ("*.example.com:443", "has another port, and ports must be equal"),
            ("a.example.com:5000/other/", "is only for paths that begin with \"/other/\""),
            ("*.com:5000", "the \"*\" is one part of the name, not several"),
            ("a.example.com:5000/*", "a glob in the path can never match"),
            ("https://a.example.com:5000", "it begins with a scheme"),
        ] {
            assert!(why(pattern).is_some_and(|why| why.contains(said)), "{pattern}: {:?}", why(pattern));
        }
        for pattern in ["a.example.com:5000/team/", "*.example.com:5000", "b.example.com:5000", "gcr.io/*"] {
            assert_eq!(why(pattern), None, "{pattern}");
        }
        let hub = Endpoint::parse("docker.io/library/nginx").unwrap();
        assert!(reason("index.docker.io", &hub).unwrap().contains("write that"));
    }
}
