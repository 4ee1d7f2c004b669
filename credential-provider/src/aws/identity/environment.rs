//! Access keys of the kubelet's environment.

use crate::aws::Keys;
use crate::provider::Variables;

/// Those of `variables`; none unless id and secret are both there.
pub(super) fn keys(variables: &Variables) -> Option<Keys> {
    let id = variables.text("AWS_ACCESS_KEY_ID")?.to_owned();
    let secret = variables.get("AWS_SECRET_ACCESS_KEY")?.clone();
    let session_token = variables.get("AWS_SESSION_TOKEN").cloned();
    Some(Keys { id, secret, session_token, expires: None, origin: "the environment".into() })
}
