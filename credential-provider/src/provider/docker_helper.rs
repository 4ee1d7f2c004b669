//! Provider `docker-helper`: a program that speaks Docker's credential helper protocol. It is run with the
//! argument `get`, reads the registry from stdin and writes `{"ServerURL", "Username", "Secret"}` to stdout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{Ask, Coverage, Credential, FetchError, Provider, Run};
use crate::cache::key::CacheKey;
use crate::child::{Child, Ended};
use crate::config::keys::Keys;
use crate::image::{DOCKER_HUB, ImageRef};
use crate::json::{self, JsonError};
use crate::secret::{Secret, SecretBytes};
use crate::step::Deadline;

/// What the name of such a program begins with.
pub const PREFIX: &str = "docker-credential-";

/// What helpers print, and exit with 1, when they have nothing for the registry.
const NOTHING: &[u8] = b"credentials not found in native keychain";
/// The user name of a token that only Docker's own client could exchange.
const TOKEN_USER: &str = "<token>";
/// How Docker's client asks for Docker Hub.
const HUB_URL: &[u8] = b"https://index.docker.io/v1/";

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    helper: Helper,
}

/// A helper program.
#[derive(Debug, PartialEq, Eq)]
pub struct Helper {
    program: PathBuf,
    env: BTreeMap<String, String>,
}

/// Why a helper program is of no help.
#[derive(Debug, Error)]
pub enum HelperError {
    /// It has nothing for this registry.
    #[error("{program:?} has no credentials for {registry}")]
    Nothing {
        /// The program.
        program: PathBuf,
        /// The registry.
        registry: String,
    },
    /// It failed. What it printed may hold a secret.
    #[error("{program:?} ended with {ended}")]
    Failed {
        /// The program.
        program: PathBuf,
        /// Exit code or signal.
        ended: Ended,
    },
    /// It printed something else.
    #[error("{program:?} printed something else than Username and Secret")]
    Shape {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        source: JsonError,
    },
    /// A token of Docker's own.
    #[error("{program:?} has an identity token, and the kubelet takes only user name and password")]
    Token {
        /// The program.
        program: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawAnswer {
    username: Secret,
    secret: Secret,
}

impl HelperError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Nothing { .. } => "store credentials with it for that registry, or narrow \"match\"",
            Self::Failed { .. } => "run it by hand as root: echo REGISTRY | PROGRAM get",
            Self::Shape { .. } => "name a program that speaks Docker's credential helper protocol",
            Self::Token { .. } => "log in with a user name and a password or access token",
        }
    }
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let needs = "provider \"docker-helper\" needs the path of a docker-credential program";
        let program = keys.needed_path("program", needs);
        let env = keys.map("env").unwrap_or_default();
        Some(Self { helper: Helper { program: program?, env } })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.helper.program
    }
}

impl Provider for Settings {
    fn recognises(&self, _image: &ImageRef) -> Result<(), FetchError> {
        Ok(())
    }

    /// None: a helper tells nothing of expiry, so nobody knows how long its answer is good.
    fn cache_key(&self, _ask: &Ask<'_>) -> Option<CacheKey> {
        None
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        Ok(vec![self.helper.step(ask.image)])
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        self.helper.get(ask.image, run.deadline)
    }
}

impl Helper {
    /// The helper at `program`.
    pub fn new(program: PathBuf) -> Self {
        Self { program, env: BTreeMap::new() }
    }

    /// What asking it for `image` is.
    pub fn step(&self, image: &ImageRef) -> String {
        format!("run {:?} get, with {:?} on stdin", self.program, image.registry())
    }

    /// Its credentials for the registry of `image`.
    pub fn get(&self, image: &ImageRef, deadline: Deadline) -> Result<Credential, FetchError> {
        let asked = if image.registry() == DOCKER_HUB { HUB_URL } else { image.registry().as_bytes() };
        let child = Child { program: &self.program, args: &["get".to_owned()], env: &self.env };
        let (ended, output) = child.run(SecretBytes::new(asked.to_vec()), deadline)?;
        let program = self.program.clone();
        if !ended.is_success() {
            let nothing = output.expose().trim_ascii().starts_with(NOTHING);
            return Err(match nothing {
                true => HelperError::Nothing { program, registry: image.registry().to_owned() },
                false => HelperError::Failed { program, ended },
            }
            .into());
        }
        Ok(self.read(&output)?)
    }

    fn read(&self, output: &SecretBytes) -> Result<Credential, HelperError> {
        let program = || self.program.clone();
        let RawAnswer { username, secret } = json::parse_object(output.expose())
            .map_err(|source| HelperError::Shape { program: program(), source })?;
        if username.expose() == TOKEN_USER {
            return Err(HelperError::Token { program: program() });
        }
        let (coverage, origin) = (Coverage::Registry, format!("{:?}", self.program));
        Ok(Credential { username, password: secret, coverage, expires: None, origin })
    }
}
