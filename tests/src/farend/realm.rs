//! The token service of a registry, by the distribution's specification: it takes a user's name and password, and
//! gives a token for the repository that the registry asked about. The registry trusts its certificate.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::jwt::{Issuer, unique};
use super::{FarEnd, Moment, Request, Response, epoch};

/// Who asks whom, and where that is.
pub const ROUTE: &str = "GET /token";
/// What a token lives for, in seconds.
const LIFE: u64 = 300;

/// The token service of one registry, which knows one user.
#[derive(Clone, Debug)]
pub struct Realm {
    service: String,
    login: (String, String),
    issuer: Issuer,
    name: String,
    der: String,
    pem: String,
}

impl Realm {
    /// The one called `name`, for the registry called `service`.
    pub fn new(name: &str, service: &str, user: &str, password: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(Vec::new()).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            service: service.into(),
            login: (user.into(), password.into()),
            issuer: Issuer::of_key(name, &key.serialize_der()),
            name: name.into(),
            der: BASE64_STANDARD.encode(certificate.der()),
            pem: certificate.pem(),
        }
    }

    /// What the registry has to trust, as PEM.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    fn token(&self, access: &[Value], moment: &Moment) -> String {
        let (now, expiry) = (epoch(moment.now), epoch(moment.expiry(LIFE)));
        let claims = json!({
            "iss": self.name, "sub": self.login.0, "aud": self.service, "jti": unique().to_string(),
            "iat": now.min(expiry - 1), "nbf": now.min(expiry - 1), "exp": expiry, "access": access,
        });
        self.issuer.sign_as(&json!({"alg": "ES256", "typ": "JWT", "x5c": [self.der]}), &claims)
    }
}

impl FarEnd for Realm {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let refused = |status: u16, why: &str| Response::json(status, &json!({"details": why}));
        match request.route().as_str() {
            ROUTE => {}
            // Clients try OAuth 2 first, and take this for "not here".
            "POST /token" => return refused(405, "only GET"),
            _ => return refused(404, "no such path"),
        }
        if request.parameter("service").as_ref() != Some(&self.service) {
            return refused(400, "service is not known");
        }
        if request.basic().as_ref() != Some(&self.login) {
            return refused(401, "incorrect username or password");
        }
        let Some(access) = request.parameter("scope").map_or(Some(vec![]), |scope| pull(&scope)) else {
            return refused(400, "scope is none");
        };
        let token = self.token(&access, moment);
        Response::json(200, &json!({"token": token, "expires_in": LIFE}))
    }
}

/// What a user of a scope such as `repository:team/app:pull,push` is given: the right to pull.
fn pull(scope: &str) -> Option<Vec<Value>> {
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let granted: Vec<_> = actions.split(',').filter(|action| *action == "pull").collect();
    Some(vec![json!({"type": "repository", "name": name, "actions": granted})])
}
