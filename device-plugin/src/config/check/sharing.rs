//! `count` and `sharing`: how many containers may hold a device, and on which terms.

use crate::config::field::{Field, Table};
use crate::config::problem::Problems;
use crate::config::quantity;
use crate::config::sharing::{Mode, Placement, Sharing};
use crate::device::Kind;
use crate::inventory::limits;

const KEYS: [&str; 5] = ["mode", "replicas", "unit", "placement", "failRequestsGreaterThanOne"];
const MODES: &str = "use exclusive, time-slicing, memory or mps";
const PLACEMENTS: [(&str, Placement); 3] = [
    ("distributed", Placement::Distributed),
    ("packed", Placement::Packed),
    ("spread-numa", Placement::SpreadNuma),
];

pub(super) fn check(resource: &Table<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Sharing> {
    match (resource.field("count"), resource.field("sharing")) {
        (None, None) => Some(Sharing::EXCLUSIVE),
        (Some(count), None) => replicas(count, problems).map(Sharing::among),
        (None, Some(sharing)) => shared(sharing, kind, problems),
        (Some(count), Some(_)) => {
            count.problem(problems, "says what `sharing` says too", "keep one of the two");
            None
        }
    }
}

fn shared(field: &Field<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Sharing> {
    let table = field.table(&KEYS, problems)?;
    let word = table.required("mode", MODES, problems)?;
    let mode = match word.text(problems)? {
        "exclusive" => Some(Mode::Exclusive),
        "time-slicing" => shares(&table, problems).map(|replicas| Mode::TimeSlicing { replicas }),
        "memory" => memory(word, &table, kind, problems),
        "mps" => mps(word, &table, kind, problems),
        other => {
            word.problem(problems, format!("{other:?} is an unknown mode"), MODES);
            None
        }
    };
    refuse_foreign_keys(&table, word.text(problems)?, problems);
    let mode = mode?;
    Some(Sharing {
        mode,
        one_each: one_each(&table, mode, problems)?,
        placement: placement(&table, mode, problems)?,
    })
}

/// A key that says nothing in this mode would be believed to say something.
fn refuse_foreign_keys(table: &Table<'_>, mode: &str, problems: &mut Problems) {
    let foreign: &[(&str, &str)] = match mode {
        "exclusive" => &[
            ("replicas", "is for shared devices"),
            ("unit", "is for mode memory"),
            ("placement", "is for shared devices"),
            ("failRequestsGreaterThanOne", "is for shared devices"),
        ],
        "time-slicing" | "mps" => &[("unit", "is for mode memory")],
        "memory" => &[("replicas", "follows from each device's memory")],
        _ => &[],
    };
    for (key, message) in foreign {
        if let Some(field) = table.field(key) {
            field.problem(problems, *message, "remove it, or use another mode");
        }
    }
}

fn shares(table: &Table<'_>, problems: &mut Problems) -> Option<u32> {
    let fix = "say how many containers may hold one device";
    table.required("replicas", fix, problems).and_then(|field| replicas(field, problems))
}

fn replicas(field: &Field<'_>, problems: &mut Problems) -> Option<u32> {
    field.integer(1..=limits::MAX_COUNT, problems)
}

fn mps(word: &Field<'_>, table: &Table<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Mode> {
    if kind.is_some_and(|kind| kind != Kind::Nvidia) {
        word.problem(problems, "mps is for GPUs of NVIDIA", "use time-slicing");
    }
    shares(table, problems).map(|replicas| Mode::Mps { replicas })
}

fn memory(word: &Field<'_>, table: &Table<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Mode> {
    if kind.is_some_and(|kind| !kind.has_memory()) {
        word.problem(problems, "is for devices with a memory of their own", "use time-slicing");
    }
    let fix = "say how much memory one unit is, for example 1Gi";
    let field = table.required("unit", fix, problems)?;
    let text = field.text(problems)?;
    let unit = quantity::bytes(text).filter(|bytes| *bytes > 0);
    if unit.is_none() {
        field.problem(problems, format!("{text:?} is no amount of memory"), fix);
    }
    unit.map(|unit| Mode::Memory { unit })
}

/// Two replicas may be of one device, which is then no more than one: who asks for two is told, unless
/// the config says that pods may. Two units of memory are more than one.
fn one_each(table: &Table<'_>, mode: Mode, problems: &mut Problems) -> Option<bool> {
    match table.field("failRequestsGreaterThanOne") {
        Some(field) => field.boolean(problems),
        None => Some(matches!(mode, Mode::TimeSlicing { .. } | Mode::Mps { .. })),
    }
}

/// Units of memory are wanted from one device, other shares from those with the fewest users.
fn placement(table: &Table<'_>, mode: Mode, problems: &mut Problems) -> Option<Placement> {
    let Some(field) = table.field("placement") else {
        let packed = matches!(mode, Mode::Memory { .. });
        return Some(if packed { Placement::Packed } else { Placement::Distributed });
    };
    let text = field.text(problems)?;
    let known = PLACEMENTS.into_iter().find(|(word, _)| *word == text);
    if known.is_none() {
        let fix = "use distributed, packed or spread-numa";
        field.problem(problems, format!("{text:?} is an unknown placement"), fix);
    }
    known.map(|(_, placement)| placement)
}
