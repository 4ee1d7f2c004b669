//! Where an answer has what.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Exchange;
use crate::json::Object;
use crate::provider::{Coverage, Credential, FetchError, Run};
use crate::secret::Secret;
use crate::service_account::Claims;

/// Longest life that is believed.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What an answer means. Fields are named by their way from the outermost object: `data.token`.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) username: User,
    pub(super) password: String,
    pub(super) expiry: Expiry,
}

/// Who one is to be.
#[derive(Debug)]
pub(super) enum User {
    /// Always the same.
    Fixed(String),
    /// The answer says.
    Field(String),
}

/// When the password expires.
#[derive(Debug)]
pub(super) enum Expiry {
    /// It is a JWT and says so itself.
    Itself,
    /// The answer says in how many seconds.
    Field(String),
}

impl Exchange {
    /// Hands `token` over and reads the answer.
    pub(super) fn credential(self, token: &Secret, run: &Run) -> Result<Credential, FetchError> {
        let Self { request, reading } = self;
        let (step, origin) = (request.step, format!("{}, for a service account's token", request.url));
        let reply = run.network.call(request.call(token))?;
        let answer = Answer::parse(step, reply.body.expose())?;
        let password = answer.secret(&reading.password)?;
        let username = match &reading.username {
            User::Fixed(name) => Secret::new(name.clone()),
            User::Field(field) => answer.secret(field)?,
        };
        let life = match &reading.expiry {
            Expiry::Itself => Claims::of(&password).ok().and_then(|claims| moment(claims.exp)),
            Expiry::Field(field) => {
                answer.seconds(field).map(|seconds| run.now + Duration::from_secs(seconds))
            }
        };
        let expires = life.filter(|at| at.duration_since(run.now).is_ok_and(|life| life <= LONGEST));
        Ok(Credential { username, password, coverage: Coverage::Registry, expires, origin })
    }
}

fn moment(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds > 0)
}

/// A JSON object that was answered at a step.
pub(super) struct Answer {
    step: &'static str,
    document: Value,
}

impl Answer {
    pub(super) fn parse(step: &'static str, bytes: &[u8]) -> Result<Self, FetchError> {
        let Object(document) = serde_json::from_slice::<Object<Value>>(bytes)
            .ok()
            .ok_or(FetchError::Answer { step, lacks: "a JSON object".to_owned() })?;
        Ok(Self { step, document })
    }

    fn field(&self, way: &str) -> Option<&Value> {
        way.split('.').try_fold(&self.document, |value, name| value.get(name))
    }

    /// The text of a field, which is there and not empty.
    pub(super) fn secret(&self, way: &str) -> Result<Secret, FetchError> {
        let text = self.field(way).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = || FetchError::Answer { step: self.step, lacks: format!("the field {way:?}") };
        text.map(|text| Secret::new(text.to_owned())).ok_or_else(missing)
    }

    /// The number of seconds in a field, which may be written as a text.
    pub(super) fn seconds(&self, way: &str) -> Option<u64> {
        let value = self.field(way)?;
        value
            .as_u64()
            .or_else(|| value.as_str()?.parse().ok())
            .filter(|seconds| *seconds <= LONGEST.as_secs())
    }
}
