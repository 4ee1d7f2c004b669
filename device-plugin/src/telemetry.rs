//! Telling the node agent what happened, so that a person sees it among the node's events.
//!
//! One datagram each, `{"v":1,"leg":"device-plugin","event":{"reason":…,"message":…}}`. Nobody need listen:
//! what cannot be sent at once is dropped, for devices matter more than news of them.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::config::resource_name::ResourceName;
use crate::inventory::Change;
use crate::offer::reason;

/// Longest message, in bytes; events of Kubernetes take 1024 characters.
const MAX_MESSAGE: usize = 1024;

/// Where to tell.
#[derive(Clone, Debug)]
pub(crate) struct Agent(Arc<Option<(UnixDatagram, PathBuf)>>);

#[derive(Debug, Serialize)]
struct Datagram<'a> {
    v: u8,
    leg: &'static str,
    event: Event<'a>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    reason: &'a str,
    message: &'a str,
}

impl Agent {
    /// The agent that listens on `socket`, or will.
    pub(crate) fn at(socket: &Path) -> Agent {
        let sender = UnixDatagram::unbound().and_then(|sender| sender.set_nonblocking(true).map(|()| sender));
        Agent(Arc::new(sender.ok().map(|sender| (sender, socket.to_owned()))))
    }

    /// Tells of a change of a device of `resource`, if it is one of its health.
    pub(crate) fn tell(&self, resource: &ResourceName, change: &Change<'_>) {
        match change {
            Change::Failed(device) => {
                let message = format!("device {} of {resource} failed: {}", device.id, reason(device));
                self.send("DeviceUnhealthy", &message);
            }
            Change::Recovered(device) => {
                self.send("DeviceRecovered", &format!("device {} of {resource} is healthy again", device.id));
            }
            Change::Appeared(_) | Change::Forgotten(_) => {}
        }
    }

    fn send(&self, reason: &str, message: &str) {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        let event = Event { reason, message: message.get(..end).unwrap_or_default() };
        let datagram = Datagram { v: 1, leg: "device-plugin", event };
        if let (Some((sender, socket)), Ok(bytes)) = (self.0.as_ref(), serde_json::to_vec(&datagram))
            && let Err(error) = sender.send_to(&bytes, socket)
        {
            tracing::debug!(%error, "the agent was not told");
        }
    }
}
