//! Where a service of AWS is: by its region and the kind of name, or where the SDKs' variables say.

use super::partition::{Partition, Variant};
use crate::http::Url;
use crate::provider::{FetchError, Variables};

/// Where the public registry is.
pub const PUBLIC_REGION: &str = "us-east-1";

/// Tells the SDKs to go by the region alone.
const IGNORE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// The address of a service: that of the variable `AWS_ENDPOINT_URL_<id>`, or of all services, or `usual`.
pub(crate) fn of(id: &str, variables: &Variables, usual: &str) -> Result<Url, FetchError> {
    let own = format!("AWS_ENDPOINT_URL_{id}");
    let ignored = variables.text(IGNORE).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let names = [own.as_str(), "AWS_ENDPOINT_URL"];
    let named = names.iter().filter(|_| !ignored).find_map(|name| Some((*name, variables.text(name)?)));
    let (name, text) = named.unwrap_or(("the region", usual));
    Url::parse(text).map_err(|source| FetchError::Address { name: name.to_owned(), source })
}

/// `variant`, with what the SDKs' variables add to it.
pub(crate) fn variant(variant: Variant, variables: &Variables) -> Variant {
    let is_set = |name| variables.text(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Variant {
        fips: variant.fips || is_set("AWS_USE_FIPS_ENDPOINT"),
        dual_stack: variant.dual_stack || is_set("AWS_USE_DUALSTACK_ENDPOINT"),
    }
}

/// Where tokens for private registries of `region` are had.
pub fn ecr(region: &str, variant: Variant) -> String {
    let suffix = Partition::of(region).suffix_of(variant);
    let name = match (variant.fips, variant.dual_stack) {
        (false, false) => "api.ecr",
        (false, true) => "ecr",
        (true, false) => "api.ecr-fips",
        (true, true) => "ecr-fips",
    };
    format!("https://{name}.{region}.{suffix}")
}

/// Where tokens for the public registry are had, which there is once.
pub fn ecr_public(variant: Variant) -> String {
    let region = PUBLIC_REGION;
    let suffix = Partition::of(region).suffix_of(variant);
    let name = if variant.dual_stack { "ecr-public" } else { "api.ecr-public" };
    format!("https://{name}.{region}.{suffix}")
}

/// Where roles of `region` are taken on. The names of GovCloud keep to FIPS 140 as they are.
pub fn sts(region: &str, variant: Variant) -> String {
    let partition = Partition::of(region);
    let is_fips_by_itself = partition.name == "aws-us-gov" && !variant.dual_stack;
    let fips = variant.fips && !is_fips_by_itself;
    let name = if fips { "sts-fips" } else { "sts" };
    format!("https://{name}.{region}.{}", partition.suffix_of(variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_kind_of_name_is_asked() {
        let variant = |fips, dual_stack| Variant { fips, dual_stack };
        for (region, variant, expected) in [
            ("eu-west-1", variant(false, false), "https://api.ecr.eu-west-1.amazonaws.com"),
            ("us-east-1", variant(true, false), "https://api.ecr-fips.us-east-1.amazonaws.com"),
            ("us-east-1", variant(false, true), "https://ecr.us-east-1.api.aws"),
            ("us-east-1", variant(true, true), "https://ecr-fips.us-east-1.api.aws"),
            ("cn-north-1", variant(false, false), "https://api.ecr.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(ecr(region, variant), expected);
        }
        assert_eq!(sts("us-gov-west-1", variant(true, false)), "https://sts.us-gov-west-1.amazonaws.com");
        assert_eq!(sts("us-east-2", variant(true, false)), "https://sts-fips.us-east-2.amazonaws.com");
    }

    #[test]
    fn variables_say_otherwise() {
        let variables = |pairs: &[(&str, &str)]| {
            Variables::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        };
        let found = |pairs: &[(&str, &str)]| {
            of("ECR", &variables(pairs), "https://usual.example").unwrap().to_string()
        };
        assert_eq!(found(&[]), "https://usual.example/");
        assert_eq!(found(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:5")]), "http://127.0.0.1:5/");
        let both =
            [("AWS_ENDPOINT_URL", "http://127.0.0.1:5"), ("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:6")];
        assert_eq!(found(&both), "http://127.0.0.1:6/");
        assert_eq!(found(&[both[0], (IGNORE, "true")]), "https://usual.example/");
        assert!(of("ECR", &variables(&[("AWS_ENDPOINT_URL", "https://u:p@x")]), "https://a").is_err());
    }
}
