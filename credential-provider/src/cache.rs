//! Credentials that outlive one run, shared by all runs on the node. A node that starts pulls a hundred
//! images at once, and the kubelet runs this program for each; the registry is to be asked once.
//!
//! Nothing that is wrong with it is in a pull's way: without a cache each run asks for itself.

pub mod entry;
pub mod key;
pub mod lock;
pub mod store;

use std::time::Duration;

use crate::provider::{Credential, FetchError, Run};
use entry::Entry;
use key::CacheKey;
use store::Store;

/// What is kept under `key` where that is good, else what `fetch` gets, which is kept from then on.
///
/// Past half of its life a credential is renewed by whoever comes first, and used by all others; also when
/// renewing fails, for as long as it lasts.
pub fn through(
    store: &Store,
    key: &CacheKey,
    run: &Run,
    fetch: impl FnOnce() -> Result<Credential, FetchError>,
) -> Result<Credential, FetchError> {
    let kept = usable(store, key, run);
    if kept.as_ref().is_some_and(|entry| entry.is_young(run.now)) {
        return kept.map(Entry::into_credential).map_or_else(fetch, Ok);
    }
    let lock = match &kept {
        Some(_) => store.try_lock(key),
        None => store.lock(key, patience(run)),
    };
    if let (Some(entry), None) = (&kept, &lock) {
        return Ok(entry.clone().into_credential());
    }
    // Somebody may have got it while this run waited.
    if let Some(entry) = usable(store, key, run).filter(|entry| entry.is_young(run.now)) {
        return Ok(entry.into_credential());
    }
    match (fetch(), kept) {
        (Ok(credential), _) => {
            let _not_kept = Entry::of(&credential, run.now).map(|entry| store.keep(key, &entry, run.now));
            Ok(credential)
        }
        (Err(_), Some(entry)) => Ok(entry.into_credential()),
        (Err(error), None) => Err(error),
    }
}

fn usable(store: &Store, key: &CacheKey, run: &Run) -> Option<Entry> {
    store.load(key).ok().flatten().filter(|entry| entry.is_good(run.now))
}

/// Who holds the lock may be stuck. What is left then has to do for asking oneself.
fn patience(run: &Run) -> Duration {
    run.deadline.left() / 5 * 3
}

#[cfg(test)]
mod tests;
