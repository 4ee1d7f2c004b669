//! Provider `acr`: Azure's registries, in all its clouds. A token of the node's or the pod's identity is exchanged at
//! the registry itself for one of the registry's.

mod directory;
mod exchange;
mod host;
mod managed;

use std::path::PathBuf;

use super::found::{self, Found};
use super::named_file::NamedFile;
use super::pod_token::{self, PodToken};
use super::{Ask, Coverage, Credential, FetchError, Provider, Run, named, names};
use crate::cache::key::CacheKey;
use crate::config::keys::Keys;
use crate::file;
use crate::http::Url;
use crate::image::ImageRef;
use crate::secret::Secret;
use crate::service_account::Claims;
use directory::{Application, Proof};
use host::Cloud;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    identities: Vec<Identity>,
    tenant: Option<String>,
    client: Option<String>,
    /// Of a managed identity, in place of its client id.
    resource: Option<String>,
    secret_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    authority: Option<Url>,
}

/// In whose name tokens are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The pod's service account, as an application's federated credential.
    ServiceAccount,
    /// A token that lies on the node, as an application's federated credential.
    Federated,
    /// An application's secret.
    ClientSecret,
    /// The virtual machine's.
    Managed,
}

/// A token of the directory's, and of which tenant it is, if that is known.
struct Token {
    secret: Secret,
    tenant: Option<String>,
}

const IDENTITIES: [(&str, Identity); 4] = [
    ("service-account", Identity::ServiceAccount),
    ("federated", Identity::Federated),
    ("client-secret", Identity::ClientSecret),
    ("managed", Identity::Managed),
];

/// Annotations of a service account, as Azure's own provider reads them.
const CLIENT_ANNOTATION: &str = "kubernetes.azure.com/acr-client-id";
const TENANT_ANNOTATION: &str = "kubernetes.azure.com/acr-tenant-id";

/// The variable that workload identity sets.
const TOKEN_FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The user name with which a registry's token is a password.
const USER: &str = "00000000-0000-0000-0000-000000000000";

impl Settings {
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let identities = keys.choices("identity", &IDENTITIES);
        let text = |keys: &mut Keys<'_>, key| keys.parsed(key, identifier).map(|text| text.value);
        let (tenant, client) = (text(keys, "tenantId"), text(keys, "clientId"));
        let authority = keys.parsed("authority", |text| Url::parse(text).map_err(|error| error.to_string()));
        Some(Self {
            identities: identities.unwrap_or_else(|| vec![Identity::Managed]),
            tenant,
            client,
            resource: keys.text("resourceId").map(|text| text.value),
            secret_file: keys.path("clientSecretFile"),
            token_file: keys.path("tokenFile"),
            authority: authority.map(|url| url.value),
        })
    }

    fn cloud(&self, image: &ImageRef) -> Result<Cloud, FetchError> {
        let unknown = || FetchError::Host { host: image.registry().to_owned(), provider: "acr" };
        Cloud::of(image.registry()).ok_or_else(unknown)
    }

    /// A token of the directory's in the name of `identity`.
    fn token(
        &self,
        identity: Identity,
        cloud: Cloud,
        ask: &Ask<'_>,
        run: &Run,
    ) -> Result<Found<Token>, FetchError> {
        if identity == Identity::Managed {
            return self.managed(run);
        }
        let proof = match self.proof(identity, ask)? {
            Found::There(proof) => proof,
            Found::Absent(why) => return Ok(Found::Absent(why)),
        };
        let Some(application) = self.application(identity, cloud, ask)? else {
            return Ok(Found::Absent("clientId and tenantId are not known".into()));
        };
        let secret = application.token(&proof, run)?;
        Ok(Found::There(Token { secret, tenant: Some(application.tenant) }))
    }

    fn managed(&self, run: &Run) -> Result<Found<Token>, FetchError> {
        let account = managed::Account { client: self.client.as_deref(), resource: self.resource.as_deref() };
        Ok(match managed::token(account, run)? {
            Found::There(secret) => Found::There(Token { secret, tenant: self.tenant.clone() }),
            Found::Absent(why) => Found::Absent(why),
        })
    }

    /// What the application proves itself by. A file that is named has to be there.
    fn proof(&self, identity: Identity, ask: &Ask<'_>) -> Result<Found<Proof>, FetchError> {
        let variable = || ask.variables.text(TOKEN_FILE_VARIABLE).map(PathBuf::from);
        let (file, proof, absent): (_, fn(Secret) -> Proof, _) = match identity {
            Identity::ServiceAccount => {
                let token = ask.service_account.map(|account| Proof::Assertion(account.token.clone()));
                return Ok(token.map_or_else(|| Found::Absent(pod_token::NOT_PASSED.into()), Found::There));
            }
            Identity::Federated => {
                let absent = format!("neither tokenFile nor {TOKEN_FILE_VARIABLE} is set");
                (self.token_file.clone().or_else(variable), Proof::Assertion, absent)
            }
            Identity::ClientSecret => {
                (self.secret_file.clone(), Proof::Secret, "clientSecretFile is not set".to_owned())
            }
            Identity::Managed => return Ok(Found::Absent("it needs no proof".into())),
        };
        let Some(path) = file else { return Ok(Found::Absent(absent)) };
        let loaded = file::load(&path)?;
        let text = String::from_utf8_lossy(loaded.bytes.expose().trim_ascii()).into_owned();
        Ok(Found::There(proof(Secret::new(text))))
    }

    /// The application that the proof is of; none where nobody says which.
    fn application(
        &self,
        identity: Identity,
        cloud: Cloud,
        ask: &Ask<'_>,
    ) -> Result<Option<Application>, FetchError> {
        let account = ask.service_account.filter(|_| identity == Identity::ServiceAccount);
        let annotated = |key: &str| account.and_then(|account| account.annotations.get(key)).cloned();
        let variable = |name| ask.variables.text(name).map(str::to_owned);
        let client = annotated(CLIENT_ANNOTATION)
            .or_else(|| self.client.clone())
            .or_else(|| variable("AZURE_CLIENT_ID"));
        let tenant = annotated(TENANT_ANNOTATION)
            .or_else(|| self.tenant.clone())
            .or_else(|| variable("AZURE_TENANT_ID"));
        let (Some(client), Some(tenant)) = (client, tenant) else { return Ok(None) };
        for (name, value) in [("client id", &client), ("tenant id", &tenant)] {
            let wrong = |why| FetchError::Identifier { name, value: value.clone(), why };
            identifier(value).map_err(wrong)?;
        }
        let authority = match &self.authority {
            Some(authority) => authority.clone(),
            None => cloud.authority(ask.variables)?,
        };
        Ok(Some(Application { authority, tenant, client }))
    }

    fn step(&self, identity: Identity, cloud: Cloud, ask: &Ask<'_>) -> Result<String, FetchError> {
        if identity == Identity::Managed {
            return Ok("ask the instance metadata service for a token of a managed identity".into());
        }
        Ok(match self.application(identity, cloud, ask)? {
            Some(application) => {
                format!("ask {} for a token of application {}", application.authority, application.client)
            }
            None => "look for an application: clientId and tenantId are not known".into(),
        })
    }
}

impl Provider for Settings {
    fn pod_token(&self) -> Option<PodToken> {
        self.identities.contains(&Identity::ServiceAccount).then(|| PodToken {
            audience: Some("api://AzureADTokenExchange".into()),
            annotations: [CLIENT_ANNOTATION, TENANT_ANNOTATION].map(Into::into).to_vec(),
            passed_on: false,
            needed: self.identities.len() == 1,
        })
    }

    fn recognises(&self, image: &ImageRef) -> Result<(), FetchError> {
        self.cloud(image).map(drop)
    }

    fn files(&self) -> Result<Vec<NamedFile>, FetchError> {
        let files = [(Identity::ClientSecret, &self.secret_file), (Identity::Federated, &self.token_file)];
        let read = files.into_iter().filter(|(identity, _)| self.identities.contains(identity));
        Ok(read.filter_map(|(_, file)| file.clone()).map(NamedFile::secret).collect())
    }

    fn cache_key(&self, ask: &Ask<'_>) -> Option<CacheKey> {
        let key =
            CacheKey::of("acr").part("settings", &format!("{self:?}")).part("registry", ask.image.registry());
        let variables = ask.variables.beginning_with("AZURE_");
        let key = variables.fold(key, |key, (name, value)| key.part(name, value.expose()));
        let Some(account) =
            ask.service_account.filter(|_| self.identities.contains(&Identity::ServiceAccount))
        else {
            return Some(key);
        };
        let key = key.part("subject", &Claims::of(&account.token).ok()?.identity());
        let annotation = |key: CacheKey, name: &str| match account.annotations.get(name) {
            Some(value) => key.part(name, value),
            None => key,
        };
        Some(annotation(annotation(key, CLIENT_ANNOTATION), TENANT_ANNOTATION))
    }

    fn plan(&self, ask: &Ask<'_>) -> Result<Vec<String>, FetchError> {
        let cloud = self.cloud(ask.image)?;
        let steps = self.identities.iter().map(|identity| self.step(*identity, cloud, ask));
        let exchange = format!("exchange it at https://{}/oauth2/exchange", ask.image.registry());
        steps.chain([Ok(exchange)]).collect()
    }

    fn identities(&self) -> Vec<&'static str> {
        names(&IDENTITIES, &self.identities)
    }

    fn probe(&self, identity: &str, ask: &Ask<'_>, run: &Run) -> Result<bool, FetchError> {
        let cloud = self.cloud(ask.image)?;
        let token = |identity| self.token(identity, cloud, ask, run);
        Ok(named(&IDENTITIES, identity).map(token).transpose()?.is_some_and(|found| found.is_there()))
    }

    fn fetch(&self, ask: &Ask<'_>, run: &Run) -> Result<Credential, FetchError> {
        let cloud = self.cloud(ask.image)?;
        let look = |identity| self.token(identity, cloud, ask, run);
        let (identity, Token { secret, tenant }) = found::first(&IDENTITIES, &self.identities(), look)?;
        let password = exchange::token(ask.image.registry(), tenant.as_deref(), &secret, run)?;
        let expires = Claims::of(&password).ok().and_then(|claims| crate::moment::epoch(claims.exp));
        let (username, coverage) = (Secret::new(USER.to_owned()), Coverage::Registry);
        let origin = format!("Azure: {}", self.step(identity, cloud, ask)?);
        Ok(Credential { username, password, coverage, expires, origin })
    }
}

/// A GUID or a domain: it becomes part of an address.
fn identifier(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.');
    fits.then(|| text.to_owned())
        .ok_or_else(|| "write an id such as 00000000-0000-0000-0000-000000000000".to_owned())
}
