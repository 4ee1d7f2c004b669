//! Extended resource names, as the kubelet accepts them.

use std::fmt;

/// Longest prefix: the kubelet checks the quota name `requests.<prefix>/<name>`, whose prefix may have
/// 253 characters as any DNS subdomain.
const MAX_PREFIX: usize = 253 - "requests.".len();
const MAX_NAME: usize = 63;

/// A checked extended resource name, for example `example.com/serial`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(String);

/// Why a text is no extended resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceNameError {
    /// There must be exactly one slash.
    #[error("must have the form <domain>/<name>")]
    Form,
    /// The part before the slash is no DNS subdomain of allowed length.
    #[error(
        "has a domain that is no DNS name: lower-case letters, digits, `-` and `.`, at most {MAX_PREFIX} characters"
    )]
    Prefix,
    /// The part after the slash has a foreign character or length.
    #[error(
        "has a name that is not 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`, first and last a letter or digit"
    )]
    Name,
    /// Kubernetes keeps this prefix for itself.
    #[error("uses the prefix {0}, which Kubernetes keeps for itself")]
    Reserved(&'static str),
}

impl ResourceName {
    /// Parses `text` by the kubelet's rules (`IsExtendedResourceName`), so that a name accepted here is
    /// not refused at registration.
    pub fn parse(text: &str) -> Result<ResourceName, ResourceNameError> {
        let (prefix, name) = text.split_once('/').ok_or(ResourceNameError::Form)?;
        if name.contains('/') {
            return Err(ResourceNameError::Form);
        }
        if text.contains("kubernetes.io/") {
            return Err(ResourceNameError::Reserved("kubernetes.io/"));
        }
        if text.starts_with("requests.") {
            return Err(ResourceNameError::Reserved("requests."));
        }
        if prefix.len() > MAX_PREFIX || !prefix.split('.').all(is_dns_label) {
            return Err(ResourceNameError::Prefix);
        }
        if !is_name(name) {
            return Err(ResourceNameError::Name);
        }
        Ok(ResourceName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_dns_label(label: &str) -> bool {
    let lower_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.starts_with(lower_alphanumeric)
        && label.ends_with(lower_alphanumeric)
        && label.chars().all(|c| lower_alphanumeric(c) || c == '-')
}

fn is_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.len() <= MAX_NAME
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kubelet_accepts_are_accepted() {
        for name in
            ["example.com/serial", "a/b", "x-y.example/GPU_1.shared", &format!("{}/a", "a".repeat(244))]
        {
            assert_eq!(ResourceName::parse(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn names_the_kubelet_refuses_are_refused() {
        let long = format!("{}/a", "a".repeat(245));
        let cases = [
            ("serial", ResourceNameError::Form),
            ("a/b/c", ResourceNameError::Form),
            ("kubernetes.io/x", ResourceNameError::Reserved("kubernetes.io/")),
            ("node.kubernetes.io/x", ResourceNameError::Reserved("kubernetes.io/")),
            ("requests.example.com/x", ResourceNameError::Reserved("requests.")),
            ("/x", ResourceNameError::Prefix),
            ("Example.com/x", ResourceNameError::Prefix),
            ("example..com/x", ResourceNameError::Prefix),
            ("-a.com/x", ResourceNameError::Prefix),
            (long.as_str(), ResourceNameError::Prefix),
            ("example.com/", ResourceNameError::Name),
            ("example.com/-x", ResourceNameError::Name),
            ("example.com/x y", ResourceNameError::Name),
            ("example.com/é", ResourceNameError::Name),
        ];
        for (name, error) in cases {
            assert_eq!(ResourceName::parse(name), Err(error), "{name}");
        }
        assert_eq!(ResourceName::parse(&format!("a/{}", "x".repeat(64))), Err(ResourceNameError::Name));
    }
}
