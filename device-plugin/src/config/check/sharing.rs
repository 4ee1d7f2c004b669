//! `count` and `sharing`: how many containers may hold a device.

use crate::config::Sharing;
use crate::config::field::{Field, Table};
use crate::config::problem::Problems;
use crate::inventory::limits;

const KEYS: [&str; 3] = ["mode", "replicas", "failRequestsGreaterThanOne"];

pub(super) fn check(resource: &Table<'_>, problems: &mut Problems) -> Option<Sharing> {
    match (resource.field("count"), resource.field("sharing")) {
        (None, None) => Some(Sharing::EXCLUSIVE),
        (Some(count), None) => {
            replicas(count, problems).map(|replicas| Sharing { replicas, one_each: false })
        }
        (None, Some(sharing)) => shared(sharing, problems),
        (Some(count), Some(_)) => {
            count.problem(problems, "says what `sharing` says too", "keep one of the two");
            None
        }
    }
}

fn shared(field: &Field<'_>, problems: &mut Problems) -> Option<Sharing> {
    let table = field.table(&KEYS, problems)?;
    let mode = table.required("mode", "use exclusive or time-slicing", problems)?;
    match mode.text(problems)? {
        "exclusive" => exclusive(&table, problems),
        "time-slicing" => time_slicing(&table, problems),
        mode_of_later @ ("memory" | "mps") => {
            let message = format!("{mode_of_later} is not available in this version");
            mode.problem(problems, message, "use exclusive or time-slicing");
            None
        }
        other => {
            mode.problem(problems, format!("{other:?} is an unknown mode"), "use exclusive or time-slicing");
            None
        }
    }
}

fn exclusive(table: &Table<'_>, problems: &mut Problems) -> Option<Sharing> {
    for key in ["replicas", "failRequestsGreaterThanOne"] {
        if let Some(field) = table.field(key) {
            field.problem(problems, "is for shared devices", "remove it, or use mode time-slicing");
        }
    }
    Some(Sharing::EXCLUSIVE)
}

/// Two replicas may be of one device, which is then no more than one: who asks for two is told, unless
/// the config says that pods may.
fn time_slicing(table: &Table<'_>, problems: &mut Problems) -> Option<Sharing> {
    let fix = "say how many containers may hold one device";
    let replicas = table.required("replicas", fix, problems).and_then(|field| replicas(field, problems));
    let one_each = match table.field("failRequestsGreaterThanOne") {
        Some(field) => field.boolean(problems)?,
        None => true,
    };
    Some(Sharing { replicas: replicas?, one_each })
}

fn replicas(field: &Field<'_>, problems: &mut Problems) -> Option<u32> {
    field.integer(1..=limits::MAX_COUNT, problems)
}
