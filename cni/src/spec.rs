//! The CNI wire format: versions, the environment of one call, results and errors. No I/O.

mod args;
mod restate;
mod result;
mod route;
mod version;

pub use args::{Args, Command, Env};
pub(crate) use args::{NO_IFNAME, is_ifname};
pub(crate) use restate::restate;
pub(crate) use result::{Address, Interface, Prior, Success};
pub(crate) use route::{Route, RouteOptions};
pub use version::Version;

use serde::Serialize;

/// What a call prints on stdout when it fails (specification, section "Error").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The version the caller asked for; the newest one when it could not be read.
    pub cni_version: Version,
    /// A code of the specification below 100, one of ours from 100 on.
    pub code: u32,
    /// One line for a person.
    pub msg: String,
    /// The chain of causes and what to do about them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// Whether `text` may become part of a path: the specification's pattern for network names and
/// container ids, `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, at most 255 bytes as a file name has.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 255
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_follow_the_pattern_of_the_specification() {
        for good in ["a", "tripod", "A-b_c.d", "0", &"x".repeat(255)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ü", "a\n", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
