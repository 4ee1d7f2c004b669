//! What the upstream sample device plugin of Kubernetes offers (`test/images/sample-device-plugin`): two devices
//! that are nothing, to try a cluster with.
//!
//! Upstream makes the file `/tmp/Dev-1` on the host and mounts it. `/tmp` is everybody's, and the runtime would
//! follow a link that somebody has put there, so a container is told in a variable instead what it was given.

use super::Scan;
use crate::device::{Found, Kind};
use crate::hostroot::HostRoot;

const IDS: [&str; 2] = ["Dev-1", "Dev-2"];
const VARIABLE: &str = "SAMPLE_DEVICE";

pub(super) fn scan(_: &HostRoot) -> Scan {
    Scan { found: IDS.map(device).into(), ..Scan::default() }
}

fn device(id: &str) -> Found {
    let mut found = Found::new(Kind::Sample, id, id);
    found.edits.env.insert(VARIABLE.to_owned(), id.to_owned());
    found
}
