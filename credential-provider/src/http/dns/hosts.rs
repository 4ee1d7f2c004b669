//! `/etc/hosts`.

use std::net::IpAddr;

/// The addresses that `file` gives for `name`, in its order, each once.
pub(super) fn find(file: &[u8], name: &str) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(file);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_ascii_whitespace();
        let Some(Ok(address)) = fields.next().map(str::parse) else { continue };
        if fields.any(|alias| alias.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn every_line_counts() {
        let file = b"# comment\n10.0.0.1 Metadata.Internal metadata # a b\nfe80::1%eth0 metadata\n\
            fd00::1\tmetadata\n10.0.0.1 metadata\nbad metadata\n\xff 10.0.0.9 metadata\n10.0.0.2 other #metadata";
        let found = |name| find(file, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("metadata"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(found("metadata.internal"), ["10.0.0.1"]);
        assert!(found("a").is_empty() && found("10.0.0.1").is_empty());
    }
}
