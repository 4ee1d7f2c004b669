//! Names of Azure's registries, and what belongs to each of its clouds.

use crate::http::Url;
use crate::provider::{FetchError, Variables};

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    /// What names of its registries end with.
    suffix: &'static str,
    /// Where its directory is.
    directory: &'static str,
}

const CLOUDS: [Cloud; 4] = [
    Cloud { suffix: "azurecr.io", directory: "https://login.microsoftonline.com" },
    Cloud { suffix: "azurecr.cn", directory: "https://login.partner.microsoftonline.cn" },
    Cloud { suffix: "azurecr.us", directory: "https://login.microsoftonline.us" },
    Cloud { suffix: "azurecr.de", directory: "https://login.microsoftonline.de" },
];

/// The variable by which SDKs are told of another directory.
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";

impl Cloud {
    /// That of `<name>.azurecr.io`, `<name>.<region>.azurecr.io` or `<name>.<region>.geo.azurecr.io` and nothing
    /// else: no port, no more labels.
    pub(super) fn of(host: &str) -> Option<Self> {
        CLOUDS.into_iter().find(|cloud| {
            let name = host.strip_suffix(cloud.suffix).and_then(|rest| rest.strip_suffix('.'));
            name.is_some_and(|name| is_name(name.strip_suffix(".geo").unwrap_or(name)))
        })
    }

    /// Where its directory is.
    pub(super) fn authority(self, variables: &Variables) -> Result<Url, FetchError> {
        let (name, text) = match variables.text(AUTHORITY) {
            Some(text) => (AUTHORITY, text),
            None => (self.suffix, self.directory),
        };
        Url::parse(text).map_err(|source| FetchError::Address { name: name.to_owned(), source })
    }
}

/// A registry's name, perhaps with a region.
fn is_name(text: &str) -> bool {
    text.split('.').count() <= 2 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::Cloud;

    #[test]
    fn only_azures_own_names_are_known() {
        let suffix = |host| Cloud::of(host).map(|cloud| cloud.suffix);
        for (host, expected) in [
            ("registry.azurecr.io", "azurecr.io"),
            ("Registry.azurecr.io", "azurecr.io"),
            ("team-dnl1abc.azurecr.io", "azurecr.io"),
            ("registry.eastus.azurecr.io", "azurecr.io"),
            ("registry.eastus.geo.azurecr.io", "azurecr.io"),
            ("registry.azurecr.cn", "azurecr.cn"),
            ("registry.azurecr.us", "azurecr.us"),
        ] {
            assert_eq!(suffix(host), Some(expected), "{host}");
        }
        for host in [
            "registry.azurecr.io.evil.example",
            "azurecr.io",
            ".azurecr.io",
            "evilazurecr.io",
            "a.b.c.azurecr.io",
            "registry.azurecr.io:443",
            "registry-.azurecr.io",
            "registry.azurecr.com",
        ] {
            assert_eq!(suffix(host), None, "{host}");
        }
    }
}
