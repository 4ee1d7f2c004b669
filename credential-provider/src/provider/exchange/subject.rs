//! The token that is exchanged.

use std::path::PathBuf;

use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::file;
use crate::provider::{Ask, FetchError};
use crate::secret::Secret;
use crate::service_account::Claims;

/// Whose token it is: the pod's, or, where the kubelet tells of none, one that lies on the node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    token_file: Option<PathBuf>,
}

impl Subject {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        Self { token_file: keys.path("tokenFile") }
    }

    /// The file on the node.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.token_file.clone()
    }

    /// Whether there is a token to ask with where the kubelet tells of none.
    pub(super) fn lies_on_node(&self) -> bool {
        self.token_file.is_some()
    }

    pub(super) fn token(&self, ask: &Ask<'_>) -> Result<Secret, FetchError> {
        if let Some(account) = ask.service_account {
            return Ok(account.token.clone());
        }
        let missing = || {
            FetchError::NoIdentity(
                "the kubelet passed no service account token (tokenAttributes), and there is no tokenFile"
                    .into(),
            )
        };
        let loaded = file::load(self.token_file.as_ref().ok_or_else(missing)?)?;
        let text = String::from_utf8_lossy(loaded.bytes.expose().trim_ascii()).into_owned();
        Ok(Secret::new(text))
    }

    /// `key` for this subject: all tokens of one service account are one. None of a token that says nothing of itself,
    /// since nobody knows for whom the answer is.
    pub(super) fn identify(&self, key: CacheKey, ask: &Ask<'_>) -> Option<CacheKey> {
        let claims = Claims::of(&self.token(ask).ok()?).ok()?;
        (!claims.sub.is_empty()).then(|| key.part("subject", &claims.identity()))
    }

    pub(super) fn step(&self, ask: &Ask<'_>) -> String {
        match (ask.service_account, &self.token_file) {
            (Some(account), _) => match Claims::of(&account.token) {
                Ok(claims) => format!("take the token of {} for {}", claims.sub, claims.aud.list()),
                Err(error) => format!("take the service account's token: {error}"),
            },
            (None, Some(file)) => format!("read a token from {file:?}"),
            (None, None) => "take the service account's token, of which the kubelet would tell".into(),
        }
    }
}
