//! From the tree of a document to a checked config, or to everything that is wrong with it.

use std::collections::BTreeMap;

use super::field::{Field, Table};
use super::path_pattern::PathPattern;
use super::problem::{Problem, Problems};
use super::resource_name::ResourceName;
use super::yaml::Node;
use super::{Config, Resource, Selector};
use crate::inventory::limits;

const MAX_RESOURCES: usize = 256;
const MAX_PATHS: usize = 256;

const RESOURCE_KEYS: [&str; 7] =
    ["name", "match", "count", "sharing", "rename", "excludeTopology", "strategy"];
const MATCH_KEYS: [&str; 11] = [
    "kind", "paths", "vendor", "product", "serial", "device", "driver", "address", "pfName", "model", "uuid",
];
const OTHER_KINDS: [&str; 9] =
    ["usb", "pci", "nvidia", "amd", "intel-gpu", "dfl", "xrt", "fpga-manager", "sample"];

/// Checks a whole document.
pub(super) fn config(document: &Node) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::default();
    let config = document_fields(document, &mut problems);
    problems.0.sort_by_key(|problem| problem.line);
    match config {
        Some(config) if problems.0.is_empty() => Ok(config),
        _ => Err(problems.0),
    }
}

fn document_fields(document: &Node, problems: &mut Problems) -> Option<Config> {
    let table = Field::document(document).table(&["version", "resources"], problems)?;
    version(&table, problems);
    let list = table.required("resources", "list the resources to offer, or []", problems)?;
    let items = list.list(MAX_RESOURCES, problems)?;
    let mut names = BTreeMap::new();
    let resources = items.iter().map(|item| resource(item, &mut names, problems)).collect::<Vec<_>>();
    Some(Config { resources: resources.into_iter().flatten().collect() })
}

fn version(table: &Table<'_>, problems: &mut Problems) {
    let fix = "begin the file with `version: v1`";
    let Some(field) = table.required("version", fix, problems) else { return };
    if field.text(problems).is_some_and(|version| version != "v1") {
        field.problem(problems, "is a version this program does not know", fix);
    }
}

fn resource(
    field: &Field<'_>,
    names: &mut BTreeMap<String, u64>,
    problems: &mut Problems,
) -> Option<Resource> {
    let table = field.table(&RESOURCE_KEYS, problems)?;
    let name = advertised_name(&table, names, problems);
    unavailable(&table, "sharing", "let several containers hold one device with `count`", problems);
    unavailable(&table, "excludeTopology", "remove it: a path device reports no NUMA node", problems);
    strategy(&table, problems);
    let count = match table.field("count") {
        Some(count) => count.integer(1..=limits::MAX_COUNT, problems),
        None => Some(1),
    };
    let paths = table
        .required("match", "say which devices belong to the resource", problems)
        .and_then(|field| selected_paths(field, problems));
    let resource = Resource { name: name?, selector: Selector::Path(paths?), count: count? };
    fits_one_message(&table, &resource, problems);
    Some(resource)
}

/// `rename` replaces `name` towards the kubelet; both must be valid and what is advertised unique.
fn advertised_name(
    table: &Table<'_>,
    names: &mut BTreeMap<String, u64>,
    problems: &mut Problems,
) -> Option<ResourceName> {
    let field = table.required("name", "name the resource, for example example.com/serial", problems);
    let name = field.and_then(|field| resource_name(field, problems));
    let (field, name) = match table.field("rename") {
        Some(rename) => (rename, resource_name(rename, problems)),
        None => (field?, name),
    };
    let name = name?;
    if let Some(first) = names.insert(name.to_string(), field.line) {
        let message = format!("advertises {name} a second time: line {first} does so already");
        field.problem(problems, message, "give each resource a name of its own, or join their paths");
    }
    Some(name)
}

fn resource_name(field: &Field<'_>, problems: &mut Problems) -> Option<ResourceName> {
    let text = field.text(problems)?;
    match ResourceName::parse(text) {
        Ok(name) => Some(name),
        Err(error) => {
            field.problem(problems, format!("{text:?} {error}"), "use a name such as example.com/serial");
            None
        }
    }
}

fn unavailable(table: &Table<'_>, key: &str, fix: &str, problems: &mut Problems) {
    if let Some(field) = table.field(key) {
        field.problem(problems, "is not available for kind path", fix);
    }
}

/// A path device needs nothing but its nodes, so `auto` and `device-specs` come to the same.
fn strategy(table: &Table<'_>, problems: &mut Problems) {
    let Some(field) = table.field("strategy") else { return };
    let Some(text) = field.text(problems) else { return };
    if !matches!(text, "auto" | "device-specs") {
        let message = format!("{text:?} is not available for kind path");
        field.problem(problems, message, "use auto or device-specs");
    }
}

fn selected_paths(field: &Field<'_>, problems: &mut Problems) -> Option<Vec<PathPattern>> {
    let table = field.table(&MATCH_KEYS, problems)?;
    if let Some(kind) = table.field("kind") {
        is_path_kind(kind, problems).then_some(())?;
    }
    for key in MATCH_KEYS.iter().filter(|key| !matches!(**key, "kind" | "paths")) {
        unavailable(&table, key, "select by `paths`", problems);
    }
    let paths = table.required("paths", "list the paths, for example [/dev/ttyUSB*]", problems)?;
    let items = paths.list(MAX_PATHS, problems)?;
    if items.is_empty() {
        paths.problem(problems, "is empty", "list the paths, for example [/dev/ttyUSB*]");
    }
    let patterns: Vec<_> = items.iter().map(|item| path_pattern(item, problems)).collect();
    patterns.into_iter().collect()
}

fn is_path_kind(field: &Field<'_>, problems: &mut Problems) -> bool {
    let Some(kind) = field.text(problems) else { return false };
    if OTHER_KINDS.contains(&kind) {
        field.problem(problems, format!("{kind} is not available in this version"), "use kind path");
    } else if kind != "path" {
        field.problem(problems, format!("{kind:?} is an unknown kind"), "use kind path");
    }
    kind == "path"
}

fn path_pattern(field: &Field<'_>, problems: &mut Problems) -> Option<PathPattern> {
    let text = field.text(problems)?;
    match PathPattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            field.problem(problems, format!("{text:?} {error}"), "give a path such as /dev/ttyUSB*");
            None
        }
    }
}

/// What the config alone makes certain: every literal path, or at least one device, `count` times.
fn fits_one_message(table: &Table<'_>, resource: &Resource, problems: &mut Problems) {
    let Selector::Path(patterns) = &resource.selector;
    let literals = patterns.iter().filter(|pattern| pattern.is_literal()).count();
    let bytes = limits::least_list_size(literals.max(1), resource.count);
    if bytes > limits::MAX_LIST_BYTES {
        let message = format!(
            "makes a device list of at least {bytes} bytes, more than the {} the kubelet reads in one message",
            limits::MAX_LIST_BYTES
        );
        let (line, key) = match table.field("count") {
            Some(count) => (count.line, count.key.clone()),
            None => (table.line, table.key.clone()),
        };
        problems.add(line, &key, message, "lower `count` or match fewer devices");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<(u64, String, String)> {
        let problems = Config::parse(text).expect_err("the document is wrong");
        problems.into_iter().map(|p| (p.line, p.key, p.message)).collect()
    }

    #[test]
    fn a_document_becomes_resources_in_its_order() {
        let text = "version: v1\nresources:\n  - name: example.com/serial\n    match: {paths: [\"/dev/ttyUSB*\"]}\n  \
                    - name: example.com/kvm\n    rename: example.com/kvm.shared\n    count: 10\n    strategy: auto\n    \
                    match:\n      kind: path\n      paths: [/dev/kvm]\n";
        let config = Config::parse(text).unwrap();
        let seen: Vec<_> = config.resources.iter().map(|r| (r.name.as_str(), r.count)).collect();
        assert_eq!(seen, [("example.com/serial", 1), ("example.com/kvm.shared", 10)]);
    }

    #[test]
    fn no_resources_is_a_config() {
        assert_eq!(Config::parse("version: v1\nresources: []\n"), Ok(Config::default()));
    }

    #[test]
    fn every_problem_is_reported_with_its_line_and_key() {
        let text = "version: v2\nresorces: []\nresources:\n  - name: serial\n    cuont: 2\n    count: 0\n    \
                    match:\n      paths: [/sys/x, 5]\n      vendor: '0403'\n";
        let expected = [
            (1, "version", "is a version this program does not know"),
            (2, "resorces", "is an unknown key"),
            (4, "resources[0].name", "\"serial\" must have the form <domain>/<name>"),
            (5, "resources[0].cuont", "is an unknown key"),
            (6, "resources[0].count", "is 0, which is out of range"),
            (8, "resources[0].match.paths[0]", "\"/sys/x\" must begin with /dev/ and name something in it"),
            (8, "resources[0].match.paths[1]", "must be a string, not an integer"),
            (9, "resources[0].match.vendor", "is not available for kind path"),
        ];
        let expected = expected.map(|(line, key, message)| (line, key.to_owned(), message.to_owned()));
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn a_kind_of_a_later_version_is_named_as_such() {
        let text = "version: v1\nresources:\n- name: nvidia.com/gpu\n  match: {kind: nvidia}\n";
        let message = "nvidia is not available in this version".to_owned();
        assert_eq!(problems(text), [(4, "resources[0].match.kind".to_owned(), message)]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let cases = [
            ("sharing: {mode: mps}", "resources[0].sharing"),
            ("excludeTopology: true", "resources[0].excludeTopology"),
            ("strategy: cdi", "resources[0].strategy"),
        ];
        for (line, key) in cases {
            let text =
                format!("version: v1\nresources:\n- name: a/b\n  {line}\n  match: {{paths: [/dev/x]}}\n");
            let found = problems(&text);
            assert_eq!((found[0].0, found[0].1.as_str()), (4, key));
            assert!(found[0].2.ends_with("is not available for kind path"), "{found:?}");
        }
    }

    #[test]
    fn one_name_cannot_be_advertised_twice_not_even_by_rename() {
        let text = "version: v1\nresources:\n- name: a/b\n  match: {paths: [/dev/x]}\n- name: a/c\n  rename: a/b\n  \
                    match: {paths: [/dev/y]}\n";
        let message = "advertises a/b a second time: line 3 does so already".to_owned();
        assert_eq!(problems(text), [(6, "resources[1].rename".to_owned(), message)]);
    }

    #[test]
    fn a_list_the_kubelet_could_not_read_is_refused() {
        let paths: Vec<_> = (0..200).map(|n| format!("/dev/x{n}")).collect();
        let text = format!(
            "version: v1\nresources:\n- name: a/b\n  count: 5000\n  match: {{paths: [{}]}}\n",
            paths.join(", ")
        );
        let found = problems(&text);
        assert_eq!((found[0].0, found[0].1.as_str()), (4, "resources[0].count"));
        assert!(found[0].2.contains("4194304"), "{found:?}");
    }

    #[test]
    fn a_document_that_is_no_config_is_refused_with_its_line() {
        assert_eq!(problems("")[0].2, "must be a mapping, not nothing");
        assert_eq!(problems("version: v1\nversion: v1\n")[0].0, 2);
        assert_eq!(problems("version: [v1\n")[0].0, 1);
        assert_eq!(problems("version: v1\n")[0].1, "resources");
    }
}
