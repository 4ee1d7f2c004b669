//! Provider `ocir`: Oracle's registry. A request that is signed with the key of a user or of an instance is answered
//! with a password for an hour.

mod host;
mod instance;
pub mod signer;
mod user;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::found::{self, Found};
use super::named_file::NamedFile;
use super::{Ask, Coverage, Credential, FetchError, Provider, Run, named, names};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::file;
use crate::http::Url;
use crate::image::ImageRef;
use crate::json;
use crate::secret::Secret;
use signer::Signer;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    identities: Vec<Identity>,
    /// The file of the command line client of Oracle's.
    config_file: Option<PathBuf>,
    profile: String,
}

/// In whose name passwords are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The virtual machine's, by its certificate.
    Instance,
    /// A user's, by an API key.
    User,
}

const IDENTITIES: [(&str, Identity); 2] = [("instance", Identity::Instance), ("user", Identity::User)];

/// The user name with which a token is a password.
const USER: &str = "BEARER_TOKEN";
const STEP: &str = "ocir-token";

#[derive(Deserialize)]
struct Answer {
    token: Secret,
    #[serde(default)]
    expires_in: i64,
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let identities = keys.choices("identity", &IDENTITIES).unwrap_or_else(|| vec![Identity::Instance]);
        let wanted = identities.contains(&Identity::User);
        let needs = "identity \"user\" needs the path of a config file of Oracle's command line client";
        let config_file =
            if wanted { keys.needed_path("configFile", needs) } else { keys.path("configFile") };
        let profile = keys.text("profile").map_or_else(|| "DEFAULT".to_owned(), |text| text.value);
        Some(Self { identities, config_file, profile })
    }

    fn signer(&self, identity: Identity, run: &Run) -> Result<Found<Signer>, FetchError> {
        match (identity, &self.config_file) {
            (Identity::Instance, _) => instance::signer(run),
            (Identity::User, Some(file)) => user::signer(file, &self.profile).map(Found::There),
            (Identity::User, None) => Ok(Found::Absent("configFile is not set".into())),
        }
    }

    fn step(&self, identity: Identity) -> String {
        match (identity, &self.config_file) {
            (Identity::Instance, _) => "exchange the instance's certificate for a session".into(),
            (Identity::User, Some(file)) => {
                format!("sign with the key of profile {} of {file:?}", self.profile)
            }
            (Identity::User, None) => "look for a user: configFile is not set".into(),
        }
    }
}

/// Where passwords of the registry `image` is in are had.
fn address(image: &ImageRef) -> Result<Url, FetchError> {
    let host = image.registry();
    let url = host::is_ours(host).then(|| Url::parse(&format!("https://{host}/20180419/docker/token")));
    let unknown = || FetchError::Host { host: host.to_owned(), provider: "ocir" };
    url.ok_or_else(unknown)?.map_err(|source| FetchError::Address { name: host.to_owned(), source })
}

impl Provider for Settings {
    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError> {
        address(image).map(drop)
    }

    fn files(&self) -> Result<Vec<NamedFile>, FetchError> {
        let is_read = self.identities.contains(&Identity::User);
        let Some(file) = self.config_file.as_ref().filter(|_| is_read) else { return Ok(Vec::new()) };
        let key = user::key_file(file, &self.profile)?;
        Ok(vec![NamedFile::public(file.clone()), NamedFile::secret(key)])
    }

    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let key = CacheKey::of("ocir").part("settings", &format!("{self:?}"));
        // Whoever is named in the file now is asked for now.
        let file = self.config_file.as_ref().map(|file| file::load(file)).transpose().ok()?;
        let text = file.map(|file| String::from_utf8_lossy(file.bytes.expose()).into_owned());
        Some(key.part("registry", ask.image.registry()).part("file", &text.unwrap_or_default()))
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let steps = self.identities.iter().map(|identity| self.step(*identity));
        Ok(steps.chain([format!("ask {} for a token", address(ask.image)?)]).collect())
    }

    fn identities(&self) -> Vec<&'static str> {
        names(&IDENTITIES, &self.identities)
    }

    fn probe(&self, identity: &str, _ask: &Ask<'_>, run: &Run) -> Result<bool, FetchError> {
        let signer = |identity| self.signer(identity, run);
        Ok(named(&IDENTITIES, identity).map(signer).transpose()?.is_some_and(|found| found.is_there()))
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let url = address(ask.image)?;
        let look = |identity| self.signer(identity, run);
        let (identity, signer) = found::first(&IDENTITIES, &self.identities(), look)?;
        let hint =
            "the identity needs a policy that lets it read repos, and the node's clock has to be right";
        let call = signer.get(STEP, url, run.now)?.tries(3).hint(hint);
        let reply = run.network.call(call)?;
        let lacks = || FetchError::Answer { step: STEP, lacks: "a token".to_owned() };
        let Answer { token, expires_in } = json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
        let life = u64::try_from(expires_in).ok().filter(|life| *life > 0).map(Duration::from_secs);
        Ok(Credential {
            username: Secret::new(USER.to_owned()),
            password: token,
            coverage: Coverage::Registry,
            expires: life.and_then(|life| run.now.checked_add(life)),
            origin: format!("Oracle: {}", self.step(identity)),
        })
    }
}
