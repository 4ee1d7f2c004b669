//! Managed identities, by the instance metadata service of a virtual machine.

use std::time::Duration;

use serde::Deserialize;

use crate::http::{Call, Url};
use crate::json;
use crate::provider::found::Found;
use crate::provider::{FetchError, Run};
use crate::secret::Secret;

/// Which of the machine's identities; without either the only one it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub(super) client: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
}

const HOST: &str = "169.254.169.254:80";
const ADDRESS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const STEP: &str = "azure-imds-token";
const VERSION: &str = "2018-02-01";
/// The audience of registries, in all clouds.
pub(super) const AUDIENCE: &str = "https://containerregistry.azure.net";
/// A node elsewhere has nobody at that address; this is not to cost its pulls more.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
}

/// A token of the directory's; absent on a machine that is none of Azure's.
pub(super) fn token(account: Account<'_>, run: &Run) -> Result<Found<Secret>, FetchError> {
    let wrong = |source| FetchError::Address { name: ADDRESS.to_owned(), source };
    let url = Url::parse(ADDRESS).map_err(wrong)?.with_parameter("api-version", VERSION);
    let url = url.with_parameter("resource", AUDIENCE);
    let url = match (account.client, account.resource) {
        (_, Some(resource)) => url.with_parameter("msi_res_id", resource),
        (Some(client), None) => url.with_parameter("client_id", client),
        (None, None) => url,
    };
    let call = Call::get(STEP, url)
        .header("metadata", "true")
        .metadata()
        .patience(PATIENCE)
        .tries(3)
        // What the service answers while the identity is being assigned.
        .retry(|status, _| matches!(status, 404 | 410))
        .hint("the node must be a virtual machine of Azure's with a managed identity; of several, name one by clientId");
    let reply = match run.network.call(call) {
        Err(error) if error.is_nobody() => return Ok(Found::Absent(format!("nobody answers at {HOST}"))),
        reply => reply?,
    };
    let lacks = || FetchError::Answer { step: STEP, lacks: "an access_token".to_owned() };
    let Answer { access_token } = json::parse_object(reply.body.expose()).ok().ok_or_else(lacks)?;
    Ok(Found::There(access_token))
}
