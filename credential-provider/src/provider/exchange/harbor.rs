//! Harbor with an OIDC provider for robots: the pod's token is the password, and nothing is exchanged.

use crate::config::keys::Keys;
use crate::provider::{Coverage, Credential};
use crate::secret::Secret;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    username: String,
}

/// The user whose password is read as a token.
const USER: &str = "jwt";

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Self { username: keys.text("username").map_or_else(|| USER.to_owned(), |name| name.value) })
    }

    /// The token as it is. Nobody is to keep it: it is one pod's, and the registry judges it each time.
    pub(super) fn pass_through(&self, token: Secret) -> Credential {
        let origin = "the service account's own token".to_owned();
        let username = Secret::new(self.username.clone());
        Credential { username, password: token, coverage: Coverage::Registry, expires: None, origin }
    }
}
