//! Oracle's cloud: an instance's identity, its exchange for a session, and the registry's password.

pub mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

use super::jwt::{HOUR, Issuer, unique};
use super::{FarEnd, Moment, Request, Response};
use signature::Rsa;

/// A tenancy with one instance in it.
#[derive(Clone, Debug)]
pub struct Tenancy(Arc<Instance>);

#[derive(Debug)]
struct Instance {
    id: String,
    key: Rsa,
    certificate: String,
    fingerprint: String,
    issuer: Issuer,
    sessions: Mutex<HashMap<String, Vec<u8>>>,
    users: Mutex<HashMap<String, Vec<u8>>>,
}

impl Tenancy {
    /// The tenancy of this id.
    pub fn new(id: &str) -> Self {
        let key = Rsa::generate();
        let pair = KeyPair::from_pem(key.pem()).expect("a key of RSA");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::OrganizationalUnitName, format!("opc-tenant:{id}"));
        let certificate = params.self_signed(&pair).expect("a certificate");
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
        let pairs = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>();
        Self(Arc::new(Instance {
            id: id.into(),
            certificate: certificate.pem(),
            fingerprint: pairs.join(":"),
            key,
            issuer: Issuer::new("auth"),
            sessions: Mutex::default(),
            users: Mutex::default(),
        }))
    }

    /// The `keyId` by which the instance signs.
    pub fn key_id(&self) -> String {
        format!("{}/fed-x509/{}", self.0.id, self.0.fingerprint)
    }

    /// The instance's key.
    pub fn key(&self) -> &Rsa {
        &self.0.key
    }

    /// A user's API key, known as `id`.
    pub fn trust(&self, id: &str, key: &Rsa) {
        let mut keys = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(id.to_owned(), key.public());
    }

    /// The body that asks for a session of `session`.
    pub fn federation(&self, session: &Rsa) -> Value {
        json!({
            "certificate": bare(&self.0.certificate), "publicKey": bare(&session.public_pem()),
            "intermediateCertificates": [bare(&self.0.certificate)],
        })
    }
}

/// PEM without its armour and newlines.
fn bare(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// The metadata service of the instance.
#[derive(Clone, Debug)]
pub struct OciMetadata {
    /// Where the instance is.
    pub tenancy: Tenancy,
    /// `eu-frankfurt-1`.
    pub region: String,
}

impl FarEnd for OciMetadata {
    fn answer(&self, request: &Request, _: &Moment) -> Response {
        if !request.has("Authorization", "Bearer Oracle") || request.header("X-Forwarded-For").is_some() {
            return Response::text(401, "");
        }
        let instance = &self.tenancy.0;
        match request.route().as_str() {
            "GET /opc/v2/identity/cert.pem" | "GET /opc/v2/identity/intermediate.pem" => {
                Response::text(200, &instance.certificate)
            }
            "GET /opc/v2/identity/key.pem" => Response::text(200, instance.key.pem()),
            "GET /opc/v2/instance/canonicalRegionName" => Response::text(200, &self.region),
            _ => Response::text(404, ""),
        }
    }
}

/// The service that exchanges an instance's identity for a session.
#[derive(Clone, Debug)]
pub struct OciAuth(pub Tenancy);

impl FarEnd for OciAuth {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let instance = &self.0.0;
        if request.route() != "POST /v1/x509" {
            return failure(404, "NotAuthorizedOrNotFound", "no such path");
        }
        let needed = ["date", "(request-target)", "content-length", "content-type", "x-content-sha256"];
        let by_id = |id: &str| (id == self.0.key_id()).then(|| instance.key.public());
        if let Err(why) = signature::verify(request, &needed, by_id, moment.now) {
            return failure(401, "NotAuthenticated", &why);
        }
        let sent = request.document();
        if sent["certificate"] != bare(&instance.certificate)
            || sent["intermediateCertificates"].as_array().is_none_or(Vec::is_empty)
        {
            return failure(400, "InvalidParameter", "certificate");
        }
        let key = sent["publicKey"].as_str().and_then(|key| BASE64_STANDARD.decode(key).ok());
        let Some(key) = key.and_then(|key| signature::public_of(&key)) else {
            return failure(400, "InvalidParameter", "publicKey");
        };
        let token = instance.issuer.issue(&instance.id, moment.expiry(HOUR / 3));
        let mut sessions = instance.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), key);
        Response::json(200, &json!({"token": token}))
    }

    fn throttled(&self) -> Response {
        failure(429, "TooManyRequests", "Too many requests for the tenant")
    }

    fn denied(&self) -> Response {
        failure(401, "NotAuthenticated", "The required information was not provided or was incorrect.")
    }
}

/// The registry.
#[derive(Clone, Debug)]
pub struct Ocir(pub Tenancy);

impl FarEnd for Ocir {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let instance = &self.0.0;
        if request.route() != "GET /20180419/docker/token" {
            return failure(404, "NotAuthorizedOrNotFound", "no such path");
        }
        let by_id = |id: &str| {
            let Some(token) = id.strip_prefix("ST$") else {
                return instance.users.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
            };
            instance.issuer.verify(token, moment.now).ok()?;
            instance.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
        };
        if let Err(why) = signature::verify(request, &["date", "(request-target)", "host"], by_id, moment.now)
        {
            return failure(401, "NotAuthenticated", &why);
        }
        let token = format!("ocir-{}", unique());
        Response::json(200, &json!({"token": token, "expires_in": moment.remaining(HOUR)}))
    }

    fn throttled(&self) -> Response {
        failure(429, "TooManyRequests", "Too many requests for the tenant")
    }

    fn denied(&self) -> Response {
        failure(403, "NotAuthorized", "Authorization failed")
    }
}

fn failure(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({"code": code, "message": message}))
}
