//! The versions of the specification that Tripod speaks.

use serde::{Deserialize, Serialize};

/// A version of the CNI specification. The order is the order of publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    /// What a configuration without `cniVersion` is written in.
    #[serde(rename = "0.1.0")]
    V0_1_0,
    /// Adds VERSION.
    #[serde(rename = "0.2.0")]
    V0_2_0,
    /// First version whose result lists interfaces and any number of addresses.
    #[serde(rename = "0.3.0")]
    V0_3_0,
    /// Corrects 0.3.0's examples.
    #[serde(rename = "0.3.1")]
    V0_3_1,
    /// Adds CHECK.
    #[serde(rename = "0.4.0")]
    V0_4_0,
    /// Drops the `version` key of an address.
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// Adds STATUS, GC and the `mtu` of an interface.
    #[default]
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The version named by `text`, for example `1.0.0`. As in the reference library, none is the oldest.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::V0_1_0);
        }
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version as it is written in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn every_version_reads_back() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
            assert_eq!(serde_json::to_value(version).unwrap(), version.as_str());
        }
        assert_eq!(Version::parse("1.2.0"), None);
        assert_eq!(Version::parse(""), Some(Version::V0_1_0));
    }
}
