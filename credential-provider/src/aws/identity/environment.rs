//! Access keys of the kubelet's environment.

use crate::aws::{IdentityError, Keys};
use crate::provider::{FetchError, Variables};

use super::Sight;
use super::source::Source;

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// Those of `variables`.
pub(super) fn look(variables: &Variables) -> Result<Sight, FetchError> {
    Ok(match keys(variables)? {
        Some(keys) => Sight::There(Box::new(Source::Keys(keys))),
        None => Sight::Absent(format!("{ID} is not set")),
    })
}

/// None unless id and secret are set.
pub(super) fn keys(variables: &Variables) -> Result<Option<Keys>, FetchError> {
    let (id, secret) = match (variables.text(ID), variables.get(SECRET)) {
        (Some(id), Some(secret)) => (id.to_owned(), secret.clone()),
        (Some(_), None) => return Err(IdentityError::Half { there: ID, lacks: SECRET }.into()),
        (None, Some(_)) => return Err(IdentityError::Half { there: SECRET, lacks: ID }.into()),
        (None, None) => return Ok(None),
    };
    let session_token = variables.get("AWS_SESSION_TOKEN").cloned();
    Ok(Some(Keys { id, secret, session_token, expires: None, origin: "the environment".into() }))
}
