//! Our own object, which says what is true as long as our Node exists.

use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::time::timeout;

use crate::api::{ANSWER, ApiError};
use crate::node_facts;
use crate::report;
use crate::tripod_node::{Claim, TripodNode};

/// Name under which the API server notes which fields are ours.
const MANAGER: &str = "tripod-node";

/// Makes the object of node `name` say `ours`, and returns whether the API server took it.
pub(super) async fn write(objects: &Api<TripodNode>, name: &str, ours: &Claim) -> bool {
    let patch = Patch::Apply(ours.object(name));
    let parameters = PatchParams::apply(MANAGER).force();
    let answer = timeout(ANSWER, objects.patch(name, &parameters, &patch)).await;
    let answer = answer.map_err(|_elapsed| ApiError::Silent(ANSWER));
    match answer.and_then(|answer| answer.map_err(ApiError::Write)) {
        Ok(_object) => {
            let cidrs = node_facts::list(&ours.pod_cidrs);
            tracing::info!(node = name, cidrs, "told the other nodes about this one");
            true
        }
        Err(error) => {
            let error = report::chain(&error);
            tracing::warn!(node = name, error, "cannot tell the other nodes about this one; trying again");
            false
        }
    }
}
