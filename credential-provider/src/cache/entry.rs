//! A credential as it is kept: one JSON object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::json;
use crate::provider::{Coverage, Credential};
use crate::secret::{Secret, SecretBytes};

/// The format's version.
const VERSION: u8 = 1;

/// A credential with the times between which it may be used.
#[derive(Clone, Debug)]
pub struct Entry {
    username: Secret,
    password: Secret,
    path: Option<String>,
    /// When it was fetched.
    pub obtained: SystemTime,
    /// When it expires.
    pub expires: SystemTime,
    /// Where it was found, for people.
    pub origin: String,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    username: &'a str,
    password: &'a str,
    path: Option<&'a str>,
    obtained: u64,
    expires: u64,
    origin: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    v: u8,
    username: Secret,
    password: Secret,
    path: Option<String>,
    obtained: u64,
    expires: u64,
    origin: String,
}

impl Entry {
    /// None of a credential that nobody knows the end of, or that is over.
    pub fn of(credential: &Credential, now: SystemTime) -> Option<Self> {
        let expires =
            credential.expires.filter(|_| credential.life(now).is_some_and(|life| !life.is_zero()))?;
        let Credential { username, password, coverage, origin, .. } = credential;
        let path = match coverage {
            Coverage::Registry => None,
            Coverage::Path(path) => Some(path.clone()),
        };
        let (username, password, origin) = (username.clone(), password.clone(), origin.clone());
        Some(Self { username, password, path, obtained: now, expires, origin })
    }

    /// The credential.
    pub fn into_credential(self) -> Credential {
        let coverage = self.path.map_or(Coverage::Registry, Coverage::Path);
        let Self { username, password, expires, origin, .. } = self;
        Credential { username, password, coverage, expires: Some(expires), origin }
    }

    /// Whether it can be used at all.
    pub fn is_good(&self, now: SystemTime) -> bool {
        now < self.expires
    }

    /// Whether half of its life is still to come. Of one from the future, after a clock was set back, nobody
    /// knows.
    pub fn is_young(&self, now: SystemTime) -> bool {
        let life = self.expires.duration_since(self.obtained).unwrap_or_default();
        now >= self.obtained && now < self.obtained + life / 2
    }

    /// None of bytes that are something else, by another version of this program for example.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let read: Read = json::parse_object(bytes).ok()?;
        if read.v != VERSION {
            return None;
        }
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let Read { username, password, path, obtained, expires, origin, .. } = read;
        Some(Self { username, password, path, obtained: at(obtained)?, expires: at(expires)?, origin })
    }

    pub(super) fn render(&self) -> serde_json::Result<SecretBytes> {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let written = Written {
            v: VERSION,
            username: self.username.expose(),
            password: self.password.expose(),
            path: self.path.as_deref(),
            obtained: seconds(self.obtained),
            expires: seconds(self.expires),
            origin: &self.origin,
        };
        serde_json::to_vec(&written).map(SecretBytes::new)
    }
}
