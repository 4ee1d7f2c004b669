//! Releases of the kubelet, as far as its `CredentialProviderConfig` differs between them.

/// A release, such as 1.34.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The newest whose rules were read.
    pub const NEWEST: Self = Self { major: 1, minor: 37 };

    const WITH_TOKENS: Self = Self { major: 1, minor: 33 };
    const WITH_CACHE_TYPE: Self = Self { major: 1, minor: 34 };

    /// Reads `1.34`, `v1.34.2` or what a distribution makes of it, such as `v1.34.2+k3s1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Whether `tokenAttributes` is a field.
    pub fn knows_tokens(self) -> bool {
        self >= Self::WITH_TOKENS
    }

    /// Whether `tokenAttributes` has to be allowed by a feature gate.
    pub fn hides_tokens(self) -> bool {
        self.knows_tokens() && self < Self::WITH_CACHE_TYPE
    }

    /// Whether `cacheType` is a field, and then a required one.
    pub fn knows_cache_type(self) -> bool {
        self >= Self::WITH_CACHE_TYPE
    }

    /// Whether its flag may name a folder.
    pub fn reads_folders(self) -> bool {
        self >= Self::WITH_CACHE_TYPE
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        for text in ["1.34", "v1.34.2", "v1.34.2+k3s1", "1.34.0-eks-1a2b3c", "1.34+"] {
            assert_eq!(Version::parse(text), Some(Version { major: 1, minor: 34 }), "{text}");
        }
        for text in ["", "1", "34", "1.x", "one.two", "-1.3"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
