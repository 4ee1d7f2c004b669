//! `match`: which devices belong to a resource.

use std::collections::BTreeMap;

use crate::config::Selector;
use crate::config::criteria::{Criteria, Pattern, Property};
use crate::config::field::{Field, Table};
use crate::config::path_pattern::PathPattern;
use crate::config::problem::Problems;
use crate::device::Kind;

const MAX_PATHS: usize = 256;
/// Most values that one criterion accepts.
const MAX_VALUES: usize = 256;
const EXAMPLE: &str = "list the paths, for example [/dev/ttyUSB*]";

pub(super) fn check(field: &Field<'_>, problems: &mut Problems) -> Option<Selector> {
    let known: Vec<_> = ["kind", "paths"].into_iter().chain(Property::ALL.map(Property::key)).collect();
    let table = field.table(&known, problems)?;
    let kind = match table.field("kind") {
        Some(field) => kind(field, problems)?,
        None => Kind::Path,
    };
    refuse_foreign_keys(&table, kind, problems);
    match kind {
        Kind::Path => Some(Selector::Path(paths(&table, problems)?)),
        _ => Some(Selector::Criteria(kind, criteria(&table, kind, problems)?)),
    }
}

fn kind(field: &Field<'_>, problems: &mut Problems) -> Option<Kind> {
    let text = field.text(problems)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    if kind.is_none() {
        let fix = format!("use one of {}", Kind::ALL.map(Kind::name).join(", "));
        field.problem(problems, format!("{text:?} is an unknown kind"), fix);
    }
    kind
}

fn refuse_foreign_keys(table: &Table<'_>, kind: Kind, problems: &mut Problems) {
    let own: Vec<_> = match kind {
        Kind::Path => vec!["paths"],
        _ => kind.properties().iter().map(|property| property.key()).collect(),
    };
    let fix = match own.as_slice() {
        [] => "remove it: there is nothing to choose among".to_owned(),
        keys => format!("select by {}", keys.join(", ")),
    };
    for key in ["paths"].into_iter().chain(Property::ALL.map(Property::key)) {
        if let Some(field) = table.field(key).filter(|_| !own.contains(&key)) {
            field.problem(problems, format!("is not available for kind {kind}"), &fix);
        }
    }
}

fn paths(table: &Table<'_>, problems: &mut Problems) -> Option<Vec<PathPattern>> {
    let field = table.required("paths", EXAMPLE, problems)?;
    let items = field.list(MAX_PATHS, problems)?;
    if items.is_empty() {
        field.problem(problems, "is empty", EXAMPLE);
    }
    let patterns: Vec<_> = items.iter().map(|item| path_pattern(item, problems)).collect();
    patterns.into_iter().collect()
}

fn path_pattern(field: &Field<'_>, problems: &mut Problems) -> Option<PathPattern> {
    let text = field.text(problems)?;
    let parsed = PathPattern::parse(text).map_err(|error| {
        field.problem(problems, format!("{text:?} {error}"), "give a path such as /dev/ttyUSB*");
    });
    parsed.ok()
}

/// A selector without criteria means every device of its kind. An FPGA's functions and the regions they lie in
/// are the same hardware: without `mode` the functions are meant.
fn criteria(table: &Table<'_>, kind: Kind, problems: &mut Problems) -> Option<Criteria> {
    let mut criteria = BTreeMap::new();
    let mut whole = true;
    for property in kind.properties() {
        let Some(field) = table.field(property.key()) else { continue };
        match accepted(field, *property, problems) {
            Some(patterns) => drop(criteria.insert(*property, patterns)),
            None => whole = false,
        }
    }
    if kind == Kind::Dfl {
        let functions = Property::Mode.pattern("af").ok();
        criteria.entry(Property::Mode).or_insert_with(|| functions.into_iter().collect());
    }
    whole.then_some(Criteria(criteria))
}

/// A string, or a list of strings.
fn accepted(field: &Field<'_>, property: Property, problems: &mut Problems) -> Option<Vec<Pattern>> {
    if property == Property::Rdma {
        let wanted = field.boolean(problems)?;
        return property.pattern(&wanted.to_string()).ok().map(|pattern| vec![pattern]);
    }
    let items = field.one_or_more(MAX_VALUES, problems)?;
    if items.is_empty() {
        field.problem(problems, "is empty and would match nothing", "give a value, or remove the key");
    }
    let patterns: Vec<_> = items.iter().map(|item| pattern(item, property, problems)).collect();
    patterns.into_iter().collect()
}

fn pattern(field: &Field<'_>, property: Property, problems: &mut Problems) -> Option<Pattern> {
    let text = field.text(problems)?;
    let parsed = property.pattern(text).map_err(|error| {
        let fix = format!("give a value such as {}", property.example());
        field.problem(problems, format!("{text:?} {error}"), fix);
    });
    parsed.ok()
}
