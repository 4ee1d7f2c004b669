//! From the tree of a document to a checked config, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::field::{Field, Table};
use super::naming::Naming;
use super::problem::{Problem, Problems};
use super::strategy::Strategy;
use super::yaml::Node;
use super::{Config, Rule, Selector};
use crate::cdi;
use crate::device::Kind;
use crate::discovery::nvidia::xid::Policy;
use crate::inventory::limits;

mod health;
mod reset;
mod selector;
mod sharing;

const MAX_RESOURCES: usize = 256;

const RESOURCE_KEYS: [&str; 8] =
    ["name", "match", "count", "sharing", "rename", "excludeTopology", "strategy", "reset"];
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
    let table = Field::document(document).table(&["version", "resources", "health"], problems)?;
    version(&table, problems);
    let list = table.required("resources", "list the resources to offer, or []", problems)?;
    let items = list.list(MAX_RESOURCES, problems)?;
    let mut names = BTreeMap::new();
    let rules: Vec<_> = items.iter().map(|item| rule(item, &mut names, problems)).collect();
    let xids =
        table.field("health").map_or_else(|| Some(Policy::default()), |field| health::check(field, problems));
    Some(Config { rules: rules.into_iter().flatten().map(Arc::new).collect(), xids: xids? })
}

fn version(table: &Table<'_>, problems: &mut Problems) {
    let fix = "begin the file with `version: v1`";
    let Some(field) = table.required("version", fix, problems) else { return };
    if field.text(problems).is_some_and(|version| version != "v1") {
        field.problem(problems, "is a version this program does not know", fix);
    }
}

fn rule(field: &Field<'_>, names: &mut BTreeMap<String, u64>, problems: &mut Problems) -> Option<Rule> {
    let table = field.table(&RESOURCE_KEYS, problems)?;
    let selector = table
        .required("match", "say which devices belong to the resource", problems)
        .and_then(|field| selector::check(field, problems));
    let kind = selector.as_ref().map(Selector::kind);
    let naming = advertised_name(&table, kind.unwrap_or(Kind::Path), names, problems);
    let sharing = sharing::check(&table, kind, problems);
    let exclude_topology = exclude_topology(&table, kind, problems);
    let strategy = strategy(&table, kind, problems);
    let reset = reset::check(&table, sharing, problems);
    let (naming, selector) = (naming?, selector?);
    cdi_takes(&table, &naming, strategy, problems);
    let rule =
        Rule { naming, selector, sharing: sharing?, exclude_topology, strategy: strategy?, reset: reset? };
    fits_one_message(&table, &rule, problems);
    Some(rule)
}

/// `rename` replaces `name` towards the kubelet; both must be valid and what is advertised unique.
fn advertised_name(
    table: &Table<'_>,
    kind: Kind,
    names: &mut BTreeMap<String, u64>,
    problems: &mut Problems,
) -> Option<Naming> {
    let field = table.required("name", "name the resource, for example example.com/serial", problems);
    let name = field.and_then(|field| naming(field, kind, problems));
    let (field, name) = match table.field("rename") {
        Some(rename) => (rename, naming(rename, kind, problems)),
        None => (field?, name),
    };
    let name = name?;
    if let Some(first) = names.insert(name.to_string(), field.line) {
        let message = format!("advertises {name} a second time: line {first} does so already");
        field.problem(problems, message, "give each resource a name of its own, or join their paths");
    }
    Some(name)
}

fn naming(field: &Field<'_>, kind: Kind, problems: &mut Problems) -> Option<Naming> {
    let text = field.text(problems)?;
    let naming = Naming::parse(text, kind).map_err(|error| {
        let keys: Vec<_> =
            kind.properties().iter().map(|property| format!("{{{}}}", property.key())).collect();
        let fix = match keys.as_slice() {
            [] => "use a name such as example.com/serial".to_owned(),
            keys => format!("use a name such as example.com/serial; it may hold {}", keys.join(", ")),
        };
        field.problem(problems, format!("{text:?} {error}"), fix);
    });
    naming.ok()
}

/// Whether the kubelet is told no NUMA nodes. Only of kinds that have any.
fn exclude_topology(table: &Table<'_>, kind: Option<Kind>, problems: &mut Problems) -> bool {
    let Some(field) = table.field("excludeTopology") else { return false };
    if kind.is_some_and(|kind| !kind.has_topology()) {
        field.problem(problems, "is for kinds that report NUMA nodes", "remove it");
    }
    field.boolean(problems).unwrap_or(false)
}

fn strategy(table: &Table<'_>, kind: Option<Kind>, problems: &mut Problems) -> Option<Strategy> {
    let Some(field) = table.field("strategy") else { return Some(Strategy::Auto) };
    let text = field.text(problems)?;
    let strategy = Strategy::ALL.into_iter().find(|strategy| strategy.name() == text);
    let suits = |strategy: &Strategy| kind.is_none_or(|kind| strategy.suits(kind));
    let message = match strategy {
        None => format!("{text:?} is an unknown strategy"),
        Some(strategy) if !suits(&strategy) => format!("{text} is for GPUs of NVIDIA"),
        Some(strategy) => return Some(strategy),
    };
    let words = Strategy::ALL.into_iter().filter(suits);
    let words: Vec<_> = words.map(Strategy::name).collect();
    field.problem(problems, message, format!("use one of {}", words.join(", ")));
    None
}

/// A name that follows from devices begins with letters of the config as well, which is what CDI asks for.
fn cdi_takes(table: &Table<'_>, naming: &Naming, strategy: Option<Strategy>, problems: &mut Problems) {
    let (Naming::Fixed(name), Some(field)) = (naming, table.field("strategy")) else { return };
    let Some(strategy @ (Strategy::CdiCri | Strategy::CdiAnnotations)) = strategy else { return };
    if cdi::name::kind(name).is_none() {
        let message = format!("{strategy} needs a name that CDI takes, which {name} is not");
        let fix = "use a name with at least two characters on both sides of the slash, each side beginning with a letter";
        field.problem(problems, message, fix);
    }
}

/// What the config alone makes certain: every literal path, or at least one device, `count` times.
fn fits_one_message(table: &Table<'_>, rule: &Rule, problems: &mut Problems) {
    let literals = match &rule.selector {
        Selector::Path(patterns) => patterns.iter().filter(|pattern| pattern.is_literal()).count(),
        Selector::Criteria(..) => 1,
    };
    let bytes = limits::least_list_size(literals.max(1), rule.sharing.least_replicas());
    if bytes > limits::MAX_LIST_BYTES {
        let message = format!(
            "makes a device list of at least {bytes} bytes, more than the {} the kubelet reads in one message",
            limits::MAX_LIST_BYTES
        );
        let (line, key) = match table.field("count").or_else(|| table.field("sharing")) {
            Some(count) => (count.line, count.key.clone()),
            None => (table.line, table.key.clone()),
        };
        problems.add(line, &key, message, "lower `count` or `replicas`, or match fewer devices");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let seen: Vec<_> =
            config.rules.iter().map(|r| (r.naming.to_string(), r.sharing.least_replicas())).collect();
        assert_eq!(seen, [("example.com/serial".to_owned(), 1), ("example.com/kvm.shared".to_owned(), 10)]);
    }

    #[test]
    fn devices_are_selected_by_what_their_kind_has() {
        let text = "version: v1\nresources:\n- name: a/b\n  match: {kind: usb, vendor: '0403', product: ['6001', '6015'], \
                    serial: 'A*'}\n  sharing: {mode: time-slicing, replicas: 4}\n";
        let config = Config::parse(text).unwrap();
        let [rule] = config.rules.as_slice() else { panic!("one rule") };
        let four = crate::config::sharing::Sharing::among(4);
        assert_eq!(rule.sharing, crate::config::sharing::Sharing { one_each: true, ..four });
        let Selector::Criteria(Kind::Usb, criteria) = &rule.selector else { panic!("{rule:?}") };
        assert_eq!(criteria.0.len(), 3);
    }

    #[test]
    fn a_selector_or_a_way_of_sharing_that_makes_no_sense_is_refused() {
        for (line, key, message) in [
            ("match: {kind: usb, pfName: eth0}", "match.pfName", "is not available for kind usb"),
            ("match: {kind: usb, paths: [/dev/x]}", "match.paths", "is not available for kind usb"),
            (
                "match: {kind: usb, vendor: ftdi}",
                "match.vendor",
                "\"ftdi\" is no id of four hexadecimal digits",
            ),
            ("match: {kind: usb, vendor: []}", "match.vendor", "is empty and would match nothing"),
            ("match: {kind: usb, vendor: 403}", "match.vendor", "must be a string, not an integer"),
            ("match: {kind: toaster}", "match.kind", "\"toaster\" is an unknown kind"),
            (
                "{match: {kind: usb}, excludeTopology: true}",
                "excludeTopology",
                "is for kinds that report NUMA nodes",
            ),
            (
                "{match: {kind: usb}, count: 2, sharing: {mode: exclusive}}",
                "count",
                "says what `sharing` says too",
            ),
            ("{match: {kind: usb}, sharing: {mode: time-slicing}}", "sharing.replicas", "is missing"),
            ("{match: {kind: usb}, sharing: {mode: mps}}", "sharing.mode", "mps is for GPUs of NVIDIA"),
            (
                "{match: {kind: usb}, sharing: {mode: exclusive, replicas: 2}}",
                "sharing.replicas",
                "is for shared devices",
            ),
        ] {
            let body = line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(line);
            let text = if line.starts_with('{') {
                format!("version: v1\nresources:\n- {{name: a/b, {body}}}\n")
            } else {
                format!("version: v1\nresources:\n- name: a/b\n  {line}\n")
            };
            let found = problems(&text);
            assert_eq!(
                (found[0].1.as_str(), found[0].2.as_str()),
                (format!("resources[0].{key}").as_str(), message)
            );
        }
    }

    #[test]
    fn errors_of_the_driver_mean_what_the_config_says() {
        use crate::discovery::nvidia::xid::Severity;
        let text = |xid: &str| format!("version: v1\nresources: []\nhealth: {{xid: {xid}}}\n");
        let policy = Config::parse(&text("{ignore: [94, 63], replace: [79]}")).unwrap().xids;
        let severities = [94, 63, 79].map(|xid| policy.severity(xid));
        assert_eq!(severities, [Severity::Ignore, Severity::Ignore, Severity::Replace]);
        for (wrong, key, message) in [
            ("{ignore: [94], reset: [94]}", "health.xid.reset[0]", "94 has a severity already"),
            ("{fatal: [94]}", "health.xid.fatal", "is an unknown key"),
            ("{reset: [1000]}", "health.xid.reset[0]", "is 1000, which is out of range"),
        ] {
            assert_eq!(problems(&text(wrong))[0], (3, key.to_owned(), message.to_owned()));
        }
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
    fn what_cannot_be_honoured_is_refused() {
        let cases = [
            ("sharing: {mode: mps}", "resources[0].sharing.mode", "mps is for GPUs of NVIDIA"),
            ("excludeTopology: true", "resources[0].excludeTopology", "is for kinds that report NUMA nodes"),
            ("strategy: envvar", "resources[0].strategy", "envvar is for GPUs of NVIDIA"),
            ("strategy: cdi", "resources[0].strategy", "\"cdi\" is an unknown strategy"),
            (
                "strategy: cdi-cri",
                "resources[0].strategy",
                "cdi-cri needs a name that CDI takes, which a/b is not",
            ),
        ];
        for (line, key, message) in cases {
            let text =
                format!("version: v1\nresources:\n- name: a/b\n  {line}\n  match: {{paths: [/dev/x]}}\n");
            let found = problems(&text);
            assert_eq!((found[0].0, found[0].1.as_str(), found[0].2.as_str()), (4, key, message));
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

    proptest! {
        #[test]
        fn no_text_whatever_is_a_config_without_a_version(text in "([a-z: \\[\\]{}#&*!|>'\"%@`\n-]|\\PC){0,200}") {
            prop_assert!(Config::parse(&text).is_err());
        }
    }
}
