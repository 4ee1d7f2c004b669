//! Provider `kubelet-plugin`: another image credential provider of the kubelet's, asked as the kubelet asks.
//! So one of its answers can be given for a mirror, kept between runs, or beside credentials of another kind.

mod response;

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

use super::pod_token::PodToken;
use super::{Ask, Coverage, Credential, FetchError, Provider, Run, Scope};
use crate::cache::key::CacheKey;
use crate::child::{Child, Ended};
use crate::config::ValueProblem;
use crate::config::keys::{At, Keys};
use crate::json::JsonError;
use crate::wire::{self, ApiVersion};
use response::Response;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    version: ApiVersion,
    /// The annotations that it is given with the pod's token; none where it gets no token.
    token: Option<Vec<String>>,
    /// For what an answer of it is kept.
    scope: Scope,
}

/// Why the other provider has no credentials.
#[derive(Debug, Error)]
pub enum PluginError {
    /// It failed. What it printed may hold a secret.
    #[error("{program:?} ended with {ended}")]
    Failed {
        /// The program.
        program: PathBuf,
        /// Exit code or signal.
        ended: Ended,
    },
    /// It printed something else.
    #[error("{program:?} printed something else than a CredentialProviderResponse of {version}")]
    Shape {
        /// The program.
        program: PathBuf,
        /// The version it was asked in.
        version: &'static str,
        /// What is wrong with it.
        source: JsonError,
    },
    /// It answered in another version, or another object.
    #[error("{program:?} answered with something else than a CredentialProviderResponse of {version}")]
    Version {
        /// The program.
        program: PathBuf,
        /// The version it was asked in.
        version: &'static str,
    },
    /// Its answer is for other images.
    #[error("the answer of {program:?} has no credentials for {image}")]
    Nothing {
        /// The program.
        program: PathBuf,
        /// The image.
        image: String,
    },
    /// The request cannot be written down.
    #[error("cannot render the request as JSON")]
    Render(#[from] serde_json::Error),
}

impl PluginError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "run it by hand with the request on stdin; its stderr says why",
            Self::Shape { .. } | Self::Version { .. } => {
                "name a credential provider of the kubelet's, and the apiVersion that it speaks"
            }
            Self::Nothing { .. } => "correct its own configuration, or narrow \"match\"",
            Self::Render(_) => "report it",
        }
    }
}

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let needs = "provider \"kubelet-plugin\" needs the path of a credential provider program";
        let program = keys.needed_path("program", needs);
        let args = keys.list("args").unwrap_or_default().into_iter().map(|At { value, .. }| value).collect();
        let env = keys.map("env").unwrap_or_default();
        let versions = ApiVersion::ALL.map(|version| (version.as_str(), version));
        let version = keys.choice("apiVersion", &versions).unwrap_or(ApiVersion::V1);
        let token = read_token(keys, version);
        let scopes = [("Image", Scope::Image), ("Registry", Scope::Registry)];
        let scope = keys.choice("cacheKeyType", &scopes).unwrap_or(Scope::Image);
        Some(Self { program: program?, args, env, version, token, scope })
    }

    fn shape(&self, source: JsonError) -> PluginError {
        PluginError::Shape { program: self.program.clone(), version: self.version.as_str(), source }
    }

    /// What of its answer is for the image that was asked for.
    fn read_answer(&self, bytes: &[u8], ask: &Ask<'_>, run: &Run) -> Result<Credential, PluginError> {
        let response = Response::parse(bytes).map_err(|error| self.shape(error))?;
        if !response.is_of(self.version) {
            let (program, version) = (self.program.clone(), self.version.as_str());
            return Err(PluginError::Version { program, version });
        }
        let origin = format!("{:?}", self.program);
        let nothing = PluginError::Nothing { program: self.program.clone(), image: ask.image.to_string() };
        let credential = response.credential(ask.image, run.now, origin).ok_or(nothing)?;
        // Kept for the whole registry, an answer for one image would be given for others.
        let is_narrower = self.scope == Scope::Registry && credential.coverage != Coverage::Registry;
        let expires = credential.expires.filter(|_| !is_narrower);
        Ok(Credential { expires, ..credential })
    }
}

/// Pods' tokens are something that only the newest version tells of.
fn read_token(keys: &mut Keys<'_>, version: ApiVersion) -> Option<Vec<String>> {
    const TOKEN: &str = "serviceAccountToken";
    const ANNOTATIONS: &str = "serviceAccountAnnotations";
    let with_token = keys.choice(TOKEN, &[("true", true), ("false", false)]).unwrap_or(false);
    let annotations = keys.list(ANNOTATIONS).unwrap_or_default();
    if let (false, Some(At { line, value })) = (with_token, annotations.first()) {
        let why = format!("they go with a token: add {TOKEN}: true");
        keys.refuse(*line, ANNOTATIONS, ValueProblem::Refused { given: value.clone(), why });
    }
    if with_token && version != ApiVersion::V1 {
        let why = format!("{} tells of no tokens: the apiVersion has to be the newest", version.as_str());
        keys.refuse(keys.line, TOKEN, ValueProblem::Refused { given: "true".to_owned(), why });
    }
    with_token.then(|| annotations.into_iter().map(|At { value, .. }| value).collect())
}

impl Provider for Settings {
    /// The other provider says by what it needs the token, and nobody whether it passes it on: so it is taken for the
    /// password itself.
    fn pod_token(&self) -> Option<PodToken> {
        let annotations = self.token.clone()?;
        Some(PodToken { audience: None, annotations, passed_on: true, needed: true })
    }

    fn recognises(&self, _image: &crate::image::ImageRef) -> Result<(), FetchError> {
        Ok(())
    }

    /// With a pod's token the answer may be the token itself, which is not to be kept.
    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let key = CacheKey::of("kubelet-plugin").part("settings", &format!("{self:?}"));
        // The program is run in this environment, which may say who it is.
        let variables = ask.variables.beginning_with("");
        let key = variables.fold(key, |key, (name, value)| key.part(name, value.expose()));
        let asked = match self.scope {
            Scope::Image => ask.image.repository(),
            Scope::Registry => ask.image.registry(),
        };
        self.token.is_none().then(|| key.part("asked", asked))
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let token = if self.token.is_some() { " and the pod's token" } else { "" };
        Ok(vec![format!("run {:?} with a request for {}{token} on stdin", self.program, ask.image)])
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let service_account = ask.service_account.filter(|_| self.token.is_some());
        if self.token.is_some() && service_account.is_none() {
            let why = "the kubelet passed no service account token (tokenAttributes), and the other provider wants one";
            return Err(FetchError::NoIdentity(why.to_owned()));
        }
        let request =
            wire::render_request(self.version, ask.image, service_account).map_err(PluginError::from)?;
        let child = Child { program: &self.program, args: &self.args, env: &self.env };
        let (ended, output) = child.run(request, run.deadline)?;
        if !ended.is_success() {
            return Err(PluginError::Failed { program: self.program.clone(), ended }.into());
        }
        Ok(self.read_answer(output.expose(), ask, run)?)
    }
}
