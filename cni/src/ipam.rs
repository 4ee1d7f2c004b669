//! Address management: pure ranges, and a store of leases that is one folder of small files.

pub(crate) mod range;
pub(crate) mod store;

use std::net::IpAddr;

use crate::config::NetConf;
use crate::error::Error;
use store::{Owner, Store};

/// Reserves one address of each range set for `owner`. On failure the caller releases what was
/// reserved before, by the store's [`Store::release`].
pub(crate) async fn reserve(conf: &NetConf, store: &Store, owner: &Owner<'_>) -> Result<Vec<IpAddr>, Error> {
    let lock = store.lock().await?;
    let mut addresses = Vec::with_capacity(conf.ipam.sets.len());
    for (index, set) in conf.ipam.sets.iter().enumerate() {
        let address = lock.reserve(index, set, owner)?;
        addresses.push(address.ok_or_else(|| Error::Exhausted {
            network: conf.name.clone(),
            set: index,
            ranges: set.to_string(),
        })?);
    }
    Ok(addresses)
}
