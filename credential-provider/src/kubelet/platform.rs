//! Where distributions of Kubernetes keep the kubelet's providers, and how their kubelet is told.

mod table;

use table::PLATFORMS;

/// A distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// As on the command line.
    pub name: &'static str,
    /// Where the kubelet's file lies.
    pub config: &'static str,
    /// The kubelet's folder of providers, unless the admin names another one; none where it is of their choice.
    pub bin_dir: Option<&'static str>,
    /// Whether the steps were seen to work in a test, or come from the distribution's documentation.
    pub verified: bool,
    /// What to do with the file; `CONFIG` and `BIN_DIR` stand for the two places.
    pub steps: &'static [&'static str],
}

impl Platform {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PLATFORMS.iter().find(|platform| platform.name == name)
    }

    /// A kubelet that somebody starts with flags.
    pub const fn plain() -> &'static Self {
        let [plain, ..] = &PLATFORMS;
        plain
    }

    /// All of them.
    pub fn all() -> &'static [Self] {
        &PLATFORMS
    }

    /// All names, for a person who wrote another one.
    pub fn names() -> String {
        PLATFORMS.map(|platform| platform.name).join(", ")
    }
}
