//! The endpoints that give credentials to containers: of ECS, and of the EKS Pod Identity agent.

use serde_json::json;

use super::Accounts;
use crate::farend::jwt::{self, Issuer, rfc3339};
use crate::farend::{FarEnd, Moment, Request, Response};

/// What the credentials live for.
const LIFETIME: u64 = 6 * 3600;
const AUDIENCE: &str = "pods.eks.amazonaws.com";

/// An endpoint that gives out one role.
#[derive(Debug)]
pub struct ContainerCredentials {
    accounts: Accounts,
    role: String,
    path: String,
    admission: Admission,
}

#[derive(Debug)]
enum Admission {
    Token(String),
    PodIdentity { issuer: Issuer, subject: String },
}

impl ContainerCredentials {
    /// The one of ECS at `path`, for whoever sends `token` in `Authorization`.
    pub fn of_task(accounts: &Accounts, role: &str, path: &str, token: &str) -> Self {
        let admission = Admission::Token(token.into());
        Self { accounts: accounts.clone(), role: role.into(), path: path.into(), admission }
    }

    /// The Pod Identity agent, for the ServiceAccount with this `sub` of the cluster `issuer`.
    pub fn of_pod(accounts: &Accounts, role: &str, issuer: &Issuer, subject: &str) -> Self {
        let admission = Admission::PodIdentity { issuer: issuer.clone(), subject: subject.into() };
        Self { accounts: accounts.clone(), role: role.into(), path: "/v1/credentials".into(), admission }
    }

    fn admits(&self, sent: &str, moment: &Moment) -> Result<(), Response> {
        let refused =
            |code: &str, message: &str| Response::json(400, &json!({"code": code, "message": message}));
        match &self.admission {
            Admission::Token(token) if token == sent => Ok(()),
            Admission::Token(_) => Err(refused("InvalidToken", "the Authorization token is another one")),
            Admission::PodIdentity { issuer, subject } => match issuer.verify(sent, moment.now) {
                Ok(claims) if !jwt::is_for(&claims, AUDIENCE) => {
                    Err(refused("InvalidTokenException", "the token has another audience"))
                }
                Ok(claims) if claims["sub"] == *subject => Ok(()),
                Ok(_) => Err(refused("ResourceNotFoundException", "no association for this ServiceAccount")),
                Err(jwt::Fault::Expired) => Err(refused("ExpiredTokenException", "the token is past")),
                Err(jwt::Fault::Forged) => Err(refused("InvalidTokenException", "no such token")),
            },
        }
    }
}

impl FarEnd for ContainerCredentials {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        if request.route() != format!("GET {}", self.path) {
            return Response::json(404, &json!({"code": "NotFound", "message": "no such path"}));
        }
        if let Err(refused) = self.admits(request.header("Authorization").unwrap_or_default(), moment) {
            return refused;
        }
        let principal = self.role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/task";
        let end = moment.expiry(LIFETIME);
        let key = self.accounts.issue(&principal, end);
        let account = self.role.split(':').nth(4);
        Response::json(
            200,
            &json!({
                "AccessKeyId": key.id, "SecretAccessKey": key.secret, "Token": key.token,
                "AccountId": account, "RoleArn": self.role, "Expiration": rfc3339(end),
            }),
        )
    }

    fn throttled(&self) -> Response {
        Response::json(429, &json!({"code": "ThrottlingException", "message": "Rate exceeded"}))
    }

    fn denied(&self) -> Response {
        Response::json(403, &json!({"code": "AccessDeniedException", "message": "not authorized"}))
    }
}
