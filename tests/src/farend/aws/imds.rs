//! The metadata service of an EC2 instance, version 2 only. The hop limit that eats the answer to the
//! first `PUT` is [`Mood::Silent`](crate::farend::Mood) of `PUT /latest/api/token`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::Accounts;
use crate::farend::jwt::{rfc3339, unique};
use crate::farend::{FarEnd, Moment, Request, Response};

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// What credentials of a role live for.
const LIFETIME: u64 = 6 * 3600;

/// One instance's metadata.
#[derive(Debug)]
pub struct Imds {
    accounts: Accounts,
    region: String,
    role: Option<String>,
    sessions: Mutex<HashMap<String, SystemTime>>,
}

impl Imds {
    /// An instance in `region` with the role of this ARN, if it has one.
    pub fn new(accounts: &Accounts, region: &str, role: Option<&str>) -> Self {
        Self {
            accounts: accounts.clone(),
            region: region.into(),
            role: role.map(str::to_owned),
            sessions: Mutex::default(),
        }
    }

    fn open_session(&self, request: &Request, moment: &Moment) -> Response {
        let ttl = request.header(TTL).and_then(|ttl| ttl.parse::<u64>().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=21600).contains(ttl)) else { return Response::text(400, "") };
        if request.header("X-Forwarded-For").is_some() {
            return Response::text(403, "");
        }
        let token = format!("AQAEA{:08}==", unique());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), moment.now + Duration::from_secs(ttl));
        Response::text(200, &token).header(TTL, &ttl.to_string())
    }

    fn has_session(&self, request: &Request, moment: &Moment) -> bool {
        let token = request.header("X-aws-ec2-metadata-token").unwrap_or_default();
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).is_some_and(|end| moment.now < *end)
    }

    fn read(&self, path: &str, moment: &Moment) -> Option<Response> {
        let role = self.role.as_deref().and_then(|arn| arn.rsplit('/').next());
        match path {
            "/latest/meta-data/placement/region" => Some(Response::text(200, &self.region)),
            "/latest/meta-data/services/partition" => {
                let arn = self.role.as_deref().unwrap_or("arn:aws:");
                Some(Response::text(200, arn.split(':').nth(1)?))
            }
            _ => match path.strip_prefix(ROLES)? {
                "" => Some(Response::text(200, role?)),
                name if Some(name) == role => Some(self.credentials(moment)),
                _ => None,
            },
        }
    }

    fn credentials(&self, moment: &Moment) -> Response {
        let role = self.role.as_deref().unwrap_or_default();
        let principal = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/i-0123456789";
        let end = moment.expiry(LIFETIME);
        let key = self.accounts.issue(&principal, end);
        let document = json!({
            "Code": "Success", "LastUpdated": rfc3339(moment.now), "Type": "AWS-HMAC",
            "AccessKeyId": key.id, "SecretAccessKey": key.secret, "Token": key.token, "Expiration": rfc3339(end),
        });
        // The real one says that it is text.
        Response::text(200, &document.to_string())
    }
}

impl FarEnd for Imds {
    fn answer(&self, request: &Request, moment: &Moment) -> Response {
        match request.method.as_str() {
            "PUT" if request.path == "/latest/api/token" => self.open_session(request, moment),
            "GET" if !self.has_session(request, moment) => Response::text(401, ""),
            "GET" => self.read(&request.path, moment).unwrap_or_else(|| Response::text(404, "")),
            _ => Response::text(405, ""),
        }
    }

    fn throttled(&self) -> Response {
        Response::text(503, "")
    }

    fn denied(&self) -> Response {
        Response::text(403, "")
    }
}
