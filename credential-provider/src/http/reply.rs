//! An answer that its caller can use.

use ureq::http::HeaderMap;

use crate::secret::SecretBytes;

/// An answer that its caller can use.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, complete.
    pub body: SecretBytes,
    pub(super) headers: HeaderMap,
}

impl Reply {
    /// The first header of that name (any case) that is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All headers of that name that are readable text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}
