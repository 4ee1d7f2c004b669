//! The pod's own identity, by the token of its service account that the kubelet passes on.

use crate::aws::settings::arn;
use crate::aws::sts::{self, Role};
use crate::aws::{IdentityError, Settings};
use crate::http::Url;
use crate::provider::{Ask, FetchError, Variables, pod_token};
use crate::service_account::{Claims, ServiceAccount};

use super::Sight;
use super::container::{self, Endpoint};
use super::source::{Source, WebIdentity};

const AGENT: &str = "http://169.254.170.23/v1/credentials";
const AGENT_V6: &str = "http://[fd00:ec2::23]/v1/credentials";
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";

/// The role that the service account's annotations name, or else the configuration.
pub(super) fn look_for_role(settings: &Settings, ask: &Ask<'_>) -> Result<Sight, FetchError> {
    let Some(account) = ask.service_account else { return Ok(Sight::Absent(pod_token::NOT_PASSED.into())) };
    let claims = Claims::of(&account.token)?;
    let name = claims.sub.trim_start_matches("system:serviceaccount:").replace(':', "/");
    let Some(arn) = role_of(&name, account, settings)? else {
        return Ok(Sight::Absent(format!(
            "service account {name} has no annotation {}, or the kubelet's configuration does not list it, \
             and serviceAccountRole is not set",
            settings.role_annotations.join(" or ")
        )));
    };
    let role = Role { arn, session: sts::session_name(&name.replace('/', "-")), external_id: None };
    let origin = format!("the token of service account {name} for {:?}", claims.aud.list());
    let token = account.token.clone();
    Ok(Sight::There(Box::new(Source::Token(WebIdentity { token, origin, role, region: None }))))
}

fn role_of(
    name: &str,
    account: &ServiceAccount,
    settings: &Settings,
) -> Result<Option<String>, IdentityError> {
    let annotated = |key: &String| Some((key.clone(), account.annotations.get(key)?));
    let Some((key, value)) = settings.role_annotations.iter().find_map(annotated) else {
        return Ok(settings.service_account_role.clone());
    };
    let refused = |why| IdentityError::Role { name: key, holder: format!("service account {name}"), why };
    arn(value).map(Some).map_err(refused)
}

/// The EKS Pod Identity agent, which knows what role an account has.
pub(super) fn look_for_agent(ask: &Ask<'_>) -> Result<Sight, FetchError> {
    let Some(account) = ask.service_account else { return Ok(Sight::Absent(pod_token::NOT_PASSED.into())) };
    let claims = Claims::of(&account.token)?;
    let url = agent(ask.variables)?;
    Ok(Sight::There(Box::new(Source::Endpoint(Endpoint::agent(url, account.token.clone(), claims)))))
}

fn agent(variables: &Variables) -> Result<Url, FetchError> {
    // The same variable may name an endpoint elsewhere, for the node's own keys: it is not to see pods' tokens.
    if let Some(url) = container::full_uri(variables)?.filter(container::is_on_this_node) {
        return Ok(url);
    }
    let is_v6 = variables.text(MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let (name, text) = if is_v6 { (MODE, AGENT_V6) } else { ("the agent", AGENT) };
    Url::parse(text).map_err(|source| FetchError::Address { name: name.to_owned(), source })
}
