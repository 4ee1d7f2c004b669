//! Address management: pure ranges, and a store of leases that is one folder of small files.

pub(crate) mod range;
pub(crate) mod store;

use crate::config::NetConf;
use crate::error::Error;
use range::Assignment;
use store::{Owner, Store};

/// Reserves one address of each range set for `owner`. On failure the caller releases what was
/// reserved before, by the store's [`Store::release`].
pub(crate) async fn reserve(
    conf: &NetConf,
    store: &Store,
    owner: &Owner<'_>,
) -> Result<Vec<Assignment>, Error> {
    let lock = store.lock().await?;
    let mut assignments = Vec::with_capacity(conf.ipam.sets.len());
    for (index, set) in conf.ipam.sets.iter().enumerate() {
        let address = lock.reserve(index, set, owner)?;
        assignments.push(address.and_then(|address| set.assign(address)).ok_or_else(|| {
            Error::Exhausted { network: conf.name.clone(), set: index, ranges: set.to_string() }
        })?);
    }
    Ok(assignments)
}
