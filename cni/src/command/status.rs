//! STATUS: could an ADD work now? Any failure makes the whole node NotReady, so only what would fail
//! every ADD counts; a full range is told by ADD itself.

use std::path::Path;

use super::Node;
use crate::config::Outline;
use crate::error::Error;
use crate::ipam::store::Store;

pub(super) fn run(outline: &Outline, node: &Node) -> Result<(), Error> {
    agent_is_ready(outline.agent_state.as_deref())
        .and_then(|()| node.records.probe())
        .and_then(|()| Store::new(&outline.store).probe())
        .map_err(|cause| Error::Unavailable(Box::new(cause)))
}

/// A conflist survives a reboot, what the agent sets up does not: where the conflist names the agent's
/// state, the agent's marker on a tmpfs says that this boot has been prepared.
pub(super) fn agent_is_ready(state: Option<&Path>) -> Result<(), Error> {
    match state.map(|folder| folder.join("ready")) {
        Some(marker) if !marker.exists() => Err(Error::NotReady { marker }),
        _ => Ok(()),
    }
}
