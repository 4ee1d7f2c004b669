//! Azure: an instance's metadata, the directory, and a registry. What the first two issue, the third
//! knows by its issuer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::jwt::{self, Expected, Issuer};
use super::{FarEnd, Moment, Request, Response, epoch};

/// Whom the tokens that registries take are for.
const REGISTRIES: &str = "https://containerregistry.azure.net";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What a token of the directory lives for, and what one of a registry.
const DAY: u64 = 24 * 3600;
const THREE_HOURS: u64 = 3 * 3600;

/// One tenant of the directory, with what it signs by.
#[derive(Clone, Debug)]
pub struct Tenant {
    id: Arc<str>,
    issuer: Issuer,
}

impl Tenant {
    /// The tenant of this id.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), issuer: Issuer::new(&format!("https://sts.windows.net/{id}/")) }
    }

    fn token(&self, subject: &str, audience: &str, moment: &Moment) -> String {
        let end = epoch(moment.expiry(DAY));
        self.issuer.sign(&json!({"sub": subject, "aud": audience, "tid": &*self.id, "exp": end}))
    }
}

/// The metadata service of an instance.
#[derive(Clone, Debug)]
pub struct AzureImds {
    tenant: Tenant,
    system: bool,
    users: Vec<(String, String)>,
}

impl AzureImds {
    /// An instance of `tenant`, perhaps with an identity of its own, and with those of these client ids and
    /// resource ids.
    pub fn new(tenant: &Tenant, system: bool, users: &[(&str, &str)]) -> Self {
        let users = users.iter().map(|(client, resource)| ((*client).into(), (*resource).into())).collect();
        Self { tenant: tenant.clone(), system, users }
    }

    fn identity(&self, request: &Request) -> Option<String> {
        match (request.parameter("client_id"), request.parameter("msi_res_id")) {
            (None, None) if self.system => Some("system".into()),
            // With one alone there is no doubt which is meant.
            (None, None) if self.users.len() == 1 => Some(self.users[0].0.clone()),
            (Some(id), None) => self.users.iter().find(|user| user.0 == id).map(|user| user.0.clone()),
            (None, Some(id)) => self.users.iter().find(|user| user.1 == id).map(|user| user.0.clone()),
            _ => None,
        }
    }
}

impl FarEnd for AzureImds {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let refused = |what: &str| oauth_error(400, "invalid_request", what);
        if request.route() != "GET /metadata/identity/oauth2/token" {
            return Response::json(404, &json!({"error": "Not found"}));
        }
        if !request.has("Metadata", "true") || request.header("X-Forwarded-For").is_some() {
            return refused("Required metadata header not specified");
        }
        if request.parameter("api-version").as_deref() != Some("2018-02-01") {
            return refused("api-version is not supported");
        }
        let Some(resource) = request.parameter("resource") else { return refused("resource is missing") };
        let Some(identity) = self.identity(request) else { return refused("Identity not found") };
        let left = moment.remaining(DAY);
        Response::json(
            200,
            &json!({
                "access_token": self.tenant.token(&identity, &resource, moment), "client_id": identity,
                "expires_in": left.to_string(), "expires_on": epoch(moment.expiry(DAY)).to_string(),
                "ext_expires_in": left.to_string(), "not_before": epoch(moment.now).to_string(),
                "resource": resource, "token_type": "Bearer",
            }),
        )
    }
}

/// The directory's token endpoint for one application.
#[derive(Clone, Debug)]
pub struct Aad {
    tenant: Tenant,
    client: String,
    secret: String,
    federated: Option<Expected>,
}

impl Aad {
    /// The application `client` with its secret and the token that it also trusts.
    pub fn new(tenant: &Tenant, client: &str, secret: &str, federated: Option<Expected>) -> Self {
        Self { tenant: tenant.clone(), client: client.into(), secret: secret.into(), federated }
    }

    fn authenticate(&self, request: &Request, moment: &Moment) -> Result<(), Response> {
        let refused = |what: &str| Err(oauth_error(401, "invalid_client", what));
        if request.field("client_id").as_deref() != Some(&self.client) {
            let what = "AADSTS700016: Application was not found in the directory";
            return Err(oauth_error(400, "unauthorized_client", what));
        }
        let kind = request.field("client_assertion_type");
        match (request.field("client_secret"), request.field("client_assertion"), &self.federated) {
            (Some(secret), None, _) if secret == self.secret => Ok(()),
            (Some(_), None, _) => refused("AADSTS7000215: Invalid client secret provided."),
            (None, Some(_), _) if kind.as_deref() != Some(ASSERTION) => {
                refused("AADSTS50027: JWT token is invalid or malformed.")
            }
            (None, Some(token), Some(expected)) => expected.check(&token, moment.now).or_else(|why| {
                refused(&format!("AADSTS700213: No matching federated identity record: {why}"))
            }),
            _ => refused("AADSTS7000216: 'client_assertion' or 'client_secret' is required"),
        }
    }
}

impl FarEnd for Aad {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        if request.route() != format!("POST /{}/oauth2/v2.0/token", self.tenant.id) {
            return oauth_error(400, "invalid_request", "AADSTS90002: Tenant not found.");
        }
        if request.field("grant_type").as_deref() != Some("client_credentials") {
            return oauth_error(
                400,
                "unsupported_grant_type",
                "AADSTS70003: The grant type is not supported.",
            );
        }
        if let Err(refused) = self.authenticate(request, moment) {
            return refused;
        }
        let scope = request.field("scope").unwrap_or_default();
        let Some(audience) = scope.strip_suffix("/.default") else {
            return oauth_error(
                400,
                "invalid_scope",
                "AADSTS70011: The provided value for 'scope' is not valid.",
            );
        };
        let token = self.tenant.token(&self.client, audience, moment);
        let left = moment.remaining(DAY);
        let answer = json!({"token_type": "Bearer", "expires_in": left, "ext_expires_in": left, "access_token": token});
        Response::json(200, &answer)
    }
}

/// How a registry writes its challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// With quoted values.
    #[default]
    Quoted,
    /// Without quotes.
    Unquoted,
    /// As if tokens were to be had from this host.
    Elsewhere(String),
}

/// A registry.
#[derive(Clone, Debug)]
pub struct Acr {
    tenant: Tenant,
    login_server: String,
    challenge: Challenge,
    own: Issuer,
}

impl Acr {
    /// The registry `login_server` of a tenant.
    pub fn new(tenant: &Tenant, login_server: &str, challenge: Challenge) -> Self {
        let own = Issuer::new("Azure Container Registry");
        Self { tenant: tenant.clone(), login_server: login_server.into(), challenge, own }
    }

    fn challenge(&self) -> Response {
        let server = &self.login_server;
        let header = match &self.challenge {
            Challenge::Quoted => {
                format!("Bearer realm=\"https://{server}/oauth2/token\",service=\"{server}\"")
            }
            Challenge::Unquoted => format!("Bearer realm=https://{server}/oauth2/token,service={server}"),
            Challenge::Elsewhere(host) => {
                format!("Bearer realm=\"https://{host}/oauth2/token\",service=\"{server}\"")
            }
        };
        registry_error("UNAUTHORIZED", "authentication required").header("Www-Authenticate", &header)
    }

    fn exchange(&self, request: &Request, moment: &Moment) -> Response {
        let field = |name: &str| request.field(name).unwrap_or_default();
        if !["access_token", "access_token_refresh_token"].contains(&field("grant_type").as_str()) {
            return Response::json(400, &errors("UNSUPPORTED", "grant_type is not supported"));
        }
        if field("service") != self.login_server {
            return Response::json(400, &errors("NAME_UNKNOWN", "service is another one"));
        }
        let tenant = request.field("tenant").is_none_or(|tenant| tenant == *self.tenant.id);
        match self.tenant.issuer.verify(&field("access_token"), moment.now) {
            Ok(claims) if tenant && jwt::is_for(&claims, REGISTRIES) => {
                let subject = claims["sub"].as_str().unwrap_or_default();
                let token = self.own.issue(subject, moment.expiry(THREE_HOURS));
                Response::json(200, &json!({"refresh_token": token}))
            }
            Ok(_) => registry_error("UNAUTHORIZED", "the token has another audience or tenant"),
            Err(jwt::Fault::Expired) => registry_error("UNAUTHORIZED", "the token is expired"),
            Err(jwt::Fault::Forged) => registry_error("UNAUTHORIZED", "the token is invalid"),
        }
    }
}

impl FarEnd for Acr {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        match request.route().as_str() {
            "GET /v2/" => self.challenge(),
            "POST /oauth2/exchange" => self.exchange(request, moment),
            _ => Response::json(404, &errors("NOT_FOUND", "no such path")),
        }
    }

    fn throttled(&self) -> Response {
        Response::json(429, &errors("TOOMANYREQUESTS", "too many requests")).header("Retry-After", "1")
    }

    fn denied(&self) -> Response {
        registry_error("UNAUTHORIZED", "authentication required")
    }
}

fn errors(code: &str, message: &str) -> Value {
    json!({"errors": [{"code": code, "message": message}]})
}

fn registry_error(code: &str, message: &str) -> Response {
    Response::json(401, &errors(code, message))
}

fn oauth_error(status: u16, error: &str, description: &str) -> Response {
    Response::json(status, &json!({"error": error, "error_description": description}))
}
