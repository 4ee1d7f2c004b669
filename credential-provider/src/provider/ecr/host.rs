//! Names of ECR's registries.

use crate::aws::partition::{Partition, Variant, is_region};

/// A private registry, as its host name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its region.
    pub region: String,
    /// Which of its names it was called by.
    pub variant: Variant,
}

/// Names of the one public registry.
pub const PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];

/// How many digits an account's number has.
const ACCOUNT: usize = 12;

impl Host {
    /// Reads `<account>.dkr.ecr[-fips].<region>.<suffix>` and `<account>.dkr-ecr[-fips].<region>.on.<suffix>`, and
    /// nothing else: no port, no more labels at either end.
    pub fn parse(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        if account.len() != ACCOUNT || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (variant, rest) = VARIANTS.iter().find_map(|(text, fips, dual_stack)| {
            Some((Variant { fips: *fips, dual_stack: *dual_stack }, rest.strip_prefix(text)?))
        })?;
        let (region, suffix) = rest.split_once('.')?;
        let is_ours = is_region(region) && is_suffix(suffix, variant, region);
        is_ours.then(|| Self { region: region.to_owned(), variant })
    }
}

/// What stands between account and region.
const VARIANTS: [(&str, bool, bool); 4] = [
    ("dkr.ecr.", false, false),
    ("dkr.ecr-fips.", true, false),
    ("dkr-ecr.", false, true),
    ("dkr-ecr-fips.", true, true),
];

/// Only that of the region's own partition: a region of one with another's suffix is nobody's.
fn is_suffix(suffix: &str, variant: Variant, region: &str) -> bool {
    let partition = Partition::of(region);
    match variant.dual_stack {
        true => suffix == partition.dual_stack_images(),
        false => suffix == partition.suffix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_names_is_known() {
        let host = |region: &str, fips, dual_stack| {
            Some(Host { region: region.to_owned(), variant: Variant { fips, dual_stack } })
        };
        for (name, expected) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", host("eu-west-1", false, false)),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", host("us-gov-west-1", true, false)),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", host("cn-north-1", false, false)),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", host("us-iso-east-1", false, false)),
            ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", host("us-isob-east-1", false, false)),
            ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", host("eu-isoe-west-1", false, false)),
            ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", host("us-isof-south-1", false, false)),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", host("eusc-de-east-1", false, false)),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", host("eu-west-1", false, true)),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", host("us-east-1", true, true)),
            ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", host("cn-north-1", false, true)),
            (
                "123456789012.dkr-ecr.eu-isoe-west-1.on.cloud-aws.adc-e.uk",
                host("eu-isoe-west-1", false, true),
            ),
        ] {
            assert_eq!(Host::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for name in [
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
            "evil.123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com:443",
            "12345678901.dkr.ecr.us-east-1.amazonaws.com",
            "12345678901x.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.us-east-1.amazonaws.eu",
            "123456789012.dkr.ecr.us-east-1.on.aws",
            "123456789012.dkr-ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.evil.example.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.AMAZONAWS.com",
            "123456789012xdkr.ecr.us-east-1.amazonaws.com",
            "amazonaws.com",
            "",
        ] {
            assert_eq!(Host::parse(name), None, "{name}");
        }
    }
}
