//! HashiCorp Vault and OpenBao: a login by JWT, then a secret of the key-value store, version 2.

use super::answer::{Answer, Expiry, Reading, User};
use super::request::{Body, Request, TOKEN};
use super::{Exchange, oidc};
use crate::config::keys::Keys;
use crate::http::{Call, Url};
use crate::provider::{Coverage, Credential, FetchError, Run};
use crate::secret::Secret;

/// The keys of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    url: Url,
    login: String,
    role: String,
    store: String,
    path: String,
}

const STEP: &str = "vault-secret";

impl Settings {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let url = keys.needed_parsed("url", "provider \"vault\" needs its address", oidc::address);
        let role = keys.needed("role", "provider \"vault\" needs the role to log in with");
        let path =
            keys.needed("path", "provider \"vault\" needs the path of a secret with username and password");
        let mount = |keys: &mut Keys<'_>, key, usual: &str| {
            keys.text(key).map_or_else(|| usual.to_owned(), |text| text.value)
        };
        let (login, store) = (mount(keys, "loginMount", "jwt"), mount(keys, "storeMount", "secret"));
        Some(Self { url: url?.value, login, role: role?.value, store, path: path?.value })
    }

    /// The first call, whose answer has a token of Vault's own.
    pub(super) fn login(&self) -> Result<Exchange, FetchError> {
        let url =
            segments(self.url.with_segment("v1").with_segment("auth"), &self.login).with_segment("login");
        let fields = [("role", self.role.as_str()), ("jwt", TOKEN)];
        let body = Body::Json(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        let hint = "the role must accept this service account and audience";
        Ok(Exchange {
            request: Request { step: "vault-login", url, body, hint },
            reading: Reading {
                username: User::Fixed(String::new()),
                password: "auth.client_token".into(),
                expiry: Expiry::Field("auth.lease_duration".into()),
            },
        })
    }

    /// The second call, for people.
    pub(super) fn step(&self) -> Result<String, FetchError> {
        Ok(format!("read {}", self.secret()))
    }

    pub(super) fn fetch(&self, login: Exchange, token: &Secret, run: &Run) -> Result<Credential, FetchError> {
        let vault_token = login.credential(token, run)?.password;
        let url = self.secret();
        let origin = url.to_string();
        let call = Call::get(STEP, url).secret("x-vault-token", vault_token).tries(3);
        let hint = "the role's policies must let it read that secret, and the store be of version 2";
        let reply = run.network.call(call.hint(hint))?;
        let answer = Answer::parse(STEP, reply.body.expose())?;
        let (username, password) =
            (answer.secret("data.data.username")?, answer.secret("data.data.password")?);
        // Of a secret without a lease nobody knows when it will be another.
        let lease = answer.seconds("lease_duration").filter(|seconds| *seconds > 0);
        let expires = lease.map(|seconds| run.now + std::time::Duration::from_secs(seconds));
        Ok(Credential { username, password, coverage: Coverage::Registry, expires, origin })
    }

    fn secret(&self) -> Url {
        let store = segments(self.url.with_segment("v1"), &self.store);
        segments(store.with_segment("data"), &self.path)
    }
}

/// `url` with each part of `path` put after it.
fn segments(url: Url, path: &str) -> Url {
    path.split('/').filter(|part| !part.is_empty()).fold(url, |url, part| url.with_segment(part))
}
