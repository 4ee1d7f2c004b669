//! STATUS: could an ADD work now? Any failure makes the whole node NotReady, so only what would fail
//! every ADD counts; a full range is told by ADD itself.

use std::path::Path;
use std::time::Duration;

use crate::config::Outline;
use crate::delegate::Plugins;
use crate::error::Error;
use crate::ipam::store::Store;
use crate::patience::aside;
use crate::record::Records;

pub(super) fn run(outline: Outline, records: Records, plugins: &Plugins) -> Result<(), Error> {
    let plugin = outline.plugin.clone();
    on_a_thread(move || look(&outline, &records))?;
    let Some(plugin) = plugin else { return Ok(()) };
    plugins.forward(&plugin, "STATUS").map_err(unavailable)
}

/// Longer than STATUS itself may take, whose deadline comes first and names the verb.
const LOOK: Duration = Duration::from_secs(60);

/// On a thread of its own, which the deadline can leave behind should the file system hang.
pub(super) fn on_a_thread(look: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
    let failed = Error::kernel("look at", "the state folder");
    aside(LOOK, look).map_err(failed).flatten().map_err(unavailable)
}

fn unavailable(cause: Error) -> Error {
    Error::Unavailable(Box::new(cause))
}

fn look(outline: &Outline, records: &Records) -> Result<(), Error> {
    agent_is_ready(outline.agent_state.as_deref())?;
    records.probe()?;
    match outline.plugin {
        Some(_) => Ok(()),
        // It keeps no leases.
        None if outline.is_chained() => Ok(()),
        None => Store::new(&outline.store).probe(),
    }
}

/// A conflist survives a reboot, what the agent sets up does not: where the conflist names the agent's
/// state, the agent's marker on a tmpfs says that this boot has been prepared.
pub(crate) fn agent_is_ready(state: Option<&Path>) -> Result<(), Error> {
    match state.map(|folder| folder.join("ready")) {
        Some(marker) if !marker.exists() => Err(Error::NotReady { marker }),
        _ => Ok(()),
    }
}
