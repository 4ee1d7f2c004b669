//! Prefixes of Services, which no node may claim for its pods. A cluster may get more of them at any time.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::api::{ANSWER, ApiError, LONGEST_PAUSE};
use crate::report;

/// How many objects are read: a cluster has one or two.
const MOST: u32 = 256;
/// An object holds one prefix of each family.
const MOST_PREFIXES: usize = 2;
/// How often they are looked at.
const AGAIN: Duration = Duration::from_secs(180);

/// Keeps `services` for ever: the address of the cluster's own Service, if it is `known`, and what the API
/// server says. The first look says something even if there is no answer.
pub(super) async fn follow(
    client: Client,
    known: Option<IpAddr>,
    services: watch::Sender<Option<Vec<IpNetwork>>>,
) -> Infallible {
    let objects = Api::all(client);
    let known = known.map(IpNetwork::from);
    let mut complaint = None;
    loop {
        let answer = list(&objects).await;
        let error = answer.as_ref().err().map(|error| report::chain(error));
        if error.is_some() && error != complaint {
            tracing::warn!(error, "cannot ask for the prefixes of Services; trying again");
        }
        complaint = error;
        let is_known = answer.is_ok();
        let found = answer.unwrap_or_default();
        services.send_if_modified(|services| {
            let news = Some(known.into_iter().chain(found).collect());
            let is_new = (is_known || services.is_none()) && *services != news;
            if is_new {
                *services = news;
            }
            is_new
        });
        sleep(if is_known { AGAIN } else { LONGEST_PAUSE }).await;
    }
}

async fn list(objects: &Api<ServiceCIDR>) -> Result<Vec<IpNetwork>, ApiError> {
    let parameters = ListParams::default().limit(MOST);
    let answer = timeout(ANSWER, objects.list(&parameters)).await;
    match answer.map_err(|_elapsed| ApiError::Silent(ANSWER))? {
        Ok(list) => Ok(list.items.iter().flat_map(prefixes).collect()),
        // Clusters before Kubernetes 1.33 do not say it.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(ApiError::Services(error)),
    }
}

fn prefixes(object: &ServiceCIDR) -> impl Iterator<Item = IpNetwork> {
    let texts = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    texts.iter().take(MOST_PREFIXES).filter_map(|text| text.parse().ok())
}
