//! Registries and vaults that give a password for a ServiceAccount's token. Each trusts one token.

use serde_json::{Value, json};

use super::jwt::{Expected, HOUR, Issuer, unique};
use super::{FarEnd, Moment, Request, Response};

/// Quay's federation of a robot.
#[derive(Clone, Debug)]
pub struct Quay {
    expected: Expected,
    robot: String,
    own: Issuer,
}

impl Quay {
    /// The robot, as in `team+puller`.
    pub fn new(robot: &str, expected: Expected) -> Self {
        Self { expected, robot: robot.into(), own: Issuer::new("quay") }
    }
}

impl FarEnd for Quay {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        if request.route() != "GET /oauth2/federation/robot/token" {
            return Response::json(404, &json!({"error_message": "Not Found"}));
        }
        let refused = |why: &str| Response::json(401, &json!({"error": why, "error_message": why}));
        match request.basic() {
            Some((robot, token)) if robot == self.robot => match self.expected.check(&token, moment.now) {
                Ok(()) => {
                    let token = self.own.issue(&robot, moment.expiry(HOUR));
                    Response::json(200, &json!({"token": token}))
                }
                Err(why) => refused(why),
            },
            Some(_) => refused("Robot does not exist"),
            None => refused("Authorization must be Basic"),
        }
    }
}

/// The exchange of tokens of a JFrog platform.
#[derive(Clone, Debug)]
pub struct JFrog {
    expected: Expected,
    provider: String,
    user: String,
}

impl JFrog {
    /// The platform with this name of an OIDC provider, whose tokens are worth `user`.
    pub fn new(provider: &str, user: &str, expected: Expected) -> Self {
        Self { expected, provider: provider.into(), user: user.into() }
    }
}

impl FarEnd for JFrog {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let refused = |status: u16, why: &str| {
            Response::json(status, &json!({"errors": [{"code": "UNAUTHORIZED", "message": why}]}))
        };
        if request.route() != "POST /access/api/v1/oidc/token" {
            return refused(404, "no such path");
        }
        let sent = request.document();
        for (name, value) in [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ] {
            if sent[name] != value {
                return refused(400, name);
            }
        }
        if sent["provider_name"] != *self.provider {
            return refused(404, "provider_name is not known");
        }
        if let Err(why) = self.expected.check(sent["subject_token"].as_str().unwrap_or_default(), moment.now)
        {
            return refused(401, why);
        }
        let token = format!("jfrog-{}", unique());
        let left = moment.remaining(HOUR);
        Response::json(
            200,
            &json!({"access_token": token, "expires_in": left, "username": self.user, "token_type": "Bearer"}),
        )
    }
}

/// The exchange of tokens of a Cloudsmith organisation.
#[derive(Clone, Debug)]
pub struct Cloudsmith {
    expected: Expected,
    organisation: String,
    service: String,
    own: Issuer,
}

impl Cloudsmith {
    /// The service `service` of `organisation`.
    pub fn new(organisation: &str, service: &str, expected: Expected) -> Self {
        let own = Issuer::new("cloudsmith");
        Self { expected, organisation: organisation.into(), service: service.into(), own }
    }
}

impl FarEnd for Cloudsmith {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let route = request.route();
        if route.trim_end_matches('/') != format!("POST /openid/{}", self.organisation) {
            return Response::json(404, &json!({"detail": "Not found."}));
        }
        let sent = request.document();
        if sent["service_slug"] != *self.service {
            return Response::json(422, &json!({"detail": "service_slug is not known"}));
        }
        match self.expected.check(sent["oidc_token"].as_str().unwrap_or_default(), moment.now) {
            Ok(()) => {
                Response::json(201, &json!({"token": self.own.issue(&self.service, moment.expiry(2 * HOUR))}))
            }
            Err(why) => Response::json(401, &json!({"detail": why})),
        }
    }
}

/// Vault with the `jwt` way of logging in and a `kv` store of version 2.
#[derive(Clone, Debug)]
pub struct Vault {
    /// Where the way of logging in is mounted.
    pub mount: String,
    /// The role that trusts `expected`.
    pub role: String,
    /// Which token it trusts.
    pub expected: Expected,
    /// The secret's path in the API, as in `secret/data/registry`.
    pub path: String,
    /// What is stored there.
    pub secret: Value,
    /// The issuer of its tokens.
    pub own: Issuer,
}

impl FarEnd for Vault {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        let refused = |status: u16, why: &str| Response::json(status, &json!({"errors": [why]}));
        let route = request.route();
        if route == format!("POST /v1/auth/{}/login", self.mount) {
            let sent = request.document();
            if sent["role"] != *self.role {
                return refused(400, "role could not be found");
            }
            return match self.expected.check(sent["jwt"].as_str().unwrap_or_default(), moment.now) {
                Ok(()) => {
                    let token = self.own.issue(&self.role, moment.expiry(HOUR));
                    let auth = json!({"client_token": token, "lease_duration": moment.remaining(HOUR)});
                    Response::json(200, &json!({"auth": auth}))
                }
                Err(why) => refused(400, &format!("error validating token: {why}")),
            };
        }
        let token = request.header("X-Vault-Token").unwrap_or_default();
        if self.own.verify(token, moment.now).is_err() {
            return self.denied();
        }
        if route != format!("GET /v1/{}", self.path) {
            return Response::json(404, &json!({"errors": []}));
        }
        Response::json(
            200,
            &json!({"lease_duration": 0, "data": {"data": self.secret, "metadata": {"version": 1}}}),
        )
    }

    fn denied(&self) -> Response {
        Response::json(403, &json!({"errors": ["permission denied"]}))
    }
}

/// Any service that gives user and password for a bearer token.
#[derive(Clone, Debug)]
pub struct TokenToPassword {
    /// The path to `POST` to.
    pub path: String,
    /// Which token it trusts.
    pub expected: Expected,
    /// The user it answers with.
    pub user: String,
}

impl FarEnd for TokenToPassword {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        if request.route() != format!("POST {}", self.path) {
            return Response::json(404, &json!({"error": "not_found"}));
        }
        let checked = self.expected.check(request.bearer().unwrap_or_default(), moment.now);
        checked.map_or_else(
            |why| Response::json(401, &json!({"error": "invalid_token", "error_description": why})),
            |()| {
                let password = format!("password-{}", unique());
                let left = moment.remaining(HOUR);
                Response::json(200, &json!({"username": self.user, "password": password, "expires_in": left}))
            },
        )
    }
}
