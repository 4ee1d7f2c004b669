//! Names of Oracle's registries.

/// What names of whole regions end with: one for each of Oracle's realms.
const REALMS: [&str; 5] =
    ["oraclecloud.com", "oraclegovcloud.com", "oraclegovcloud.uk", "oraclecloud.eu", "oraclecloud8.com"];

/// Whether `host` is `<key>.ocir.io` or `ocir.<region>.oci.<realm>`, and nothing else: no port, no more labels.
pub(super) fn is_ours(host: &str) -> bool {
    if let Some(key) = host.strip_suffix(".ocir.io") {
        return is_label(key);
    }
    let Some((region, realm)) = host.strip_prefix("ocir.").and_then(|rest| rest.split_once(".oci.")) else {
        return false;
    };
    is_label(region) && REALMS.contains(&realm)
}

/// `fra`, `eu-frankfurt-1`. It becomes part of a host name.
pub(super) fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && (1..=63).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_oracles_own_names_are_known() {
        for host in [
            "fra.ocir.io",
            "ocir.eu-frankfurt-1.oci.oraclecloud.com",
            "ocir.uk-gov-london-1.oci.oraclegovcloud.uk",
        ] {
            assert!(is_ours(host), "{host}");
        }
        for host in [
            "fra.ocir.io.evil.example",
            "ocir.io",
            "a.b.ocir.io",
            "evilocir.io",
            "fra.ocir.io:443",
            "ocir.eu-frankfurt-1.oci.oraclecloud.com.evil.example",
            "ocir.evil.example.oci.oraclecloud.com",
            "ocir.eu-frankfurt-1.oci.evil.example",
        ] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
