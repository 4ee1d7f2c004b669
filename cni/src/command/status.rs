//! STATUS: could an ADD work now? Any failure makes the whole node NotReady, so only what would fail
//! every ADD counts; a full range is told by ADD itself.

use std::io;
use std::path::Path;

use tokio::task;

use crate::config::Outline;
use crate::error::Error;
use crate::ipam::store::Store;
use crate::record::Records;

pub(super) async fn run(outline: Outline, records: Records) -> Result<(), Error> {
    // On a thread of its own, which the deadline can leave behind should the file system hang.
    let looked = task::spawn_blocking(move || look(&outline, &records)).await;
    let failed = |error| Error::kernel("look at", "the state folder")(io::Error::other(error));
    looked.unwrap_or_else(|error| Err(failed(error))).map_err(|cause| Error::Unavailable(Box::new(cause)))
}

fn look(outline: &Outline, records: &Records) -> Result<(), Error> {
    agent_is_ready(outline.agent_state.as_deref())?;
    records.probe()?;
    Store::new(&outline.store).probe()
}

/// A conflist survives a reboot, what the agent sets up does not: where the conflist names the agent's
/// state, the agent's marker on a tmpfs says that this boot has been prepared.
pub(super) fn agent_is_ready(state: Option<&Path>) -> Result<(), Error> {
    match state.map(|folder| folder.join("ready")) {
        Some(marker) if !marker.exists() => Err(Error::NotReady { marker }),
        _ => Ok(()),
    }
}
