//! The parts of AWS that have names of their own: DNS suffixes by region.
//!
//! The table is that of the SDKs' endpoint rules.

/// A part of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// `aws`, `aws-cn`, …
    pub name: &'static str,
    /// What names of its services end with.
    pub suffix: &'static str,
    /// The same for names that have IPv6 addresses too.
    pub dual_stack_suffix: &'static str,
    /// What its regions begin with.
    regions: &'static [&'static str],
}

/// All of them. The first is also that of a region which no row knows.
pub const PARTITIONS: [Partition; 8] = [
    Partition { name: "aws", suffix: "amazonaws.com", dual_stack_suffix: "api.aws", regions: &[] },
    Partition {
        name: "aws-cn",
        suffix: "amazonaws.com.cn",
        dual_stack_suffix: "api.amazonwebservices.com.cn",
        regions: &["cn-"],
    },
    Partition {
        name: "aws-us-gov",
        suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        regions: &["us-gov-"],
    },
    Partition {
        name: "aws-iso",
        suffix: "c2s.ic.gov",
        dual_stack_suffix: "api.aws.ic.gov",
        regions: &["us-iso-"],
    },
    Partition {
        name: "aws-iso-b",
        suffix: "sc2s.sgov.gov",
        dual_stack_suffix: "api.aws.scloud",
        regions: &["us-isob-"],
    },
    Partition {
        name: "aws-iso-e",
        suffix: "cloud.adc-e.uk",
        dual_stack_suffix: "api.cloud-aws.adc-e.uk",
        regions: &["eu-isoe-"],
    },
    Partition {
        name: "aws-iso-f",
        suffix: "csp.hci.ic.gov",
        dual_stack_suffix: "api.aws.hci.ic.gov",
        regions: &["us-isof-"],
    },
    Partition {
        name: "aws-eusc",
        suffix: "amazonaws.eu",
        dual_stack_suffix: "api.amazonwebservices.eu",
        regions: &["eusc-"],
    },
];

/// Which of a service's two sets of names is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Names whose far end keeps to FIPS 140.
    pub fips: bool,
    /// Names that have IPv6 addresses too.
    pub dual_stack: bool,
}

impl Partition {
    /// That of `region`.
    pub fn of(region: &str) -> &'static Self {
        let is_of = |partition: &&Self| partition.regions.iter().any(|prefix| region.starts_with(prefix));
        let [first, ..] = &PARTITIONS;
        PARTITIONS.iter().find(is_of).unwrap_or(first)
    }

    /// What names of this `variant` end with.
    pub fn suffix_of(&self, variant: Variant) -> &'static str {
        if variant.dual_stack { self.dual_stack_suffix } else { self.suffix }
    }

    /// What image names of the registry end with that have IPv6 addresses too: `on.aws` beside `api.aws`.
    pub fn dual_stack_images(&self) -> String {
        format!("on.{}", self.dual_stack_suffix.trim_start_matches("api."))
    }
}

/// Whether `text` can be a region. It becomes part of a host name, so it is one label of it.
pub fn is_region(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_tells_its_partition() {
        for (region, name) in [
            ("eu-west-1", "aws"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("cn-north-1", "aws-cn"),
            ("eusc-de-east-1", "aws-eusc"),
            ("xx-new-1", "aws"),
        ] {
            assert_eq!(Partition::of(region).name, name, "{region}");
        }
        assert_eq!(Partition::of("eu-west-1").dual_stack_images(), "on.aws");
    }

    #[test]
    fn a_region_is_one_label() {
        for text in ["", "eu.west", "EU", "-a", "a-", "a/b", "a@b", "a:1", &"a".repeat(64)] {
            assert!(!is_region(text), "{text:?}");
        }
        assert!(is_region("ap-southeast-3"));
    }
}
