//! The metadata server of a virtual machine of Google's.

use std::time::Duration;

use serde::Deserialize;

use super::AccessToken;
use crate::http::{Call, Url};
use crate::json;
use crate::provider::found::Found;
use crate::provider::{FetchError, Run, Variables};
use crate::secret::Secret;

/// The variable that names another server: `host[:port]`.
pub(super) const HOST: &str = "GCE_METADATA_HOST";

/// What `metadata.google.internal` stands for, without the need for a name server.
const ADDRESS: &str = "169.254.169.254";
const STEP: &str = "gce-metadata-token";
/// A node elsewhere has nobody at that address; this is not to cost its pulls more.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    #[serde(default)]
    expires_in: i64,
}

/// A token of the node's service account `account`; absent on a machine that is none of Google's.
pub(super) fn token(
    account: &str,
    variables: &Variables,
    run: &Run,
) -> Result<Found<AccessToken>, FetchError> {
    let named = variables.text(HOST);
    let server = named.unwrap_or(ADDRESS);
    let wrong = |source| FetchError::Address { name: HOST.to_owned(), source };
    let url = Url::parse(&format!("http://{server}/computeMetadata/v1/instance/service-accounts"))
        .map_err(wrong)?;
    let call = Call::get(STEP, url.with_segment(account).with_segment("token"))
        .header("metadata-flavor", "Google")
        .metadata()
        .patience(PATIENCE)
        .tries(3)
        .hint("the node must be a virtual machine of Google's, with a service account that has the scope storage-ro or cloud-platform");
    let reply = match run.network.call(call) {
        Err(error) if named.is_none() && error.is_nobody() => {
            return Ok(Found::Absent(format!("nobody answers at {ADDRESS}:80")));
        }
        reply => reply?,
    };
    if reply.header("metadata-flavor") != Some("Google") {
        return Err(FetchError::Answer { step: STEP, lacks: "the header Metadata-Flavor".to_owned() });
    }
    let lacks = || FetchError::Answer { step: STEP, lacks: "an access_token".to_owned() };
    let Answer { access_token, expires_in } =
        json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
    Ok(Found::There(AccessToken::new(access_token, expires_in, run.now)))
}
