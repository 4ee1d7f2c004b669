use std::collections::BTreeSet;

use super::*;

/// Names of all metrics that are served, as Prometheus asks for them.
fn served() -> BTreeSet<String> {
    let metrics = Metrics::default();
    metrics.set_installed(&[Installed {
        path: "/tripod-cni".into(),
        state: State::Current,
        why: String::new(),
    }]);
    let text = metrics.render();
    let name = |line: &str| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let end = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some(format!("{name}{end}"))
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn the_readme_has_every_metric_and_no_other() {
    let readme = include_str!("../../../README.md");
    let row = |line: &str| line.strip_prefix("| `tripod_")?.split(['`', '{']).next().map(str::to_owned);
    let told: BTreeSet<String> =
        readme.lines().filter_map(row).map(|name| format!("tripod_{name}")).collect();
    assert_eq!(told, served());
}

#[test]
fn the_dashboard_asks_for_metrics_that_are_served() {
    let text = include_str!("../../chart/dashboards/tripod.json");
    let board: serde_json::Value = serde_json::from_str(text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let asked: BTreeSet<&str> = targets
        .flat_map(|target| target["expr"].as_str().unwrap().split(|letter| !is_name(letter)))
        .filter(|word| word.starts_with("tripod_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect();
    let served = served();
    let unknown: Vec<_> = asked.iter().filter(|name| !served.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(asked.len(), served.len(), "each metric has its place");
}

#[test]
fn exactly_one_state_is_the_current_one() {
    let metrics = Metrics::default();
    metrics.set_phase(&Phase::Failing("out of luck".into()));
    let text = metrics.render();
    let states: Vec<&str> = text.lines().filter(|line| line.starts_with("tripod_state{")).collect();
    assert_eq!(states.len(), Phase::WORDS.len());
    let current: Vec<&&str> = states.iter().filter(|line| line.ends_with(" 1")).collect();
    assert_eq!(current, [&r#"tripod_state{component="net",state="failing"} 1"#]);
    assert!(!text.contains("out of luck"), "{text}");
}

#[test]
fn what_is_not_known_becomes_no_label() {
    let metrics = Metrics::default();
    let report = |leg: &str, op: &str, code| {
        let (leg, op) = (leg.to_owned(), op.to_owned());
        metrics.count(&Report { v: 1, leg, op, result: Ended::Error, code, ms: 2 });
    };
    report("cni", "ADD", 101);
    report("cni", "ADD", 4711);
    report("cni", "EVIL", 5);
    report("web-7f9", "ADD", 5);
    report("credential-provider", "ecr", 1);
    report("credential-provider", "web-7f9", 0);
    let text = metrics.render();
    for line in [
        r#"tripod_cni_operations_total{op="ADD",result="error",code="101"} 1"#,
        r#"tripod_cni_operations_total{op="ADD",result="error",code="other"} 1"#,
        r#"tripod_cni_operation_duration_seconds_count{op="ADD"} 2"#,
        r#"tripod_credprov_requests_total{provider="ecr",result="error",cache="hit"} 1"#,
        "tripod_telemetry_dropped_total 3",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("EVIL") && !text.contains("web-7f9") && !text.contains("4711"), "{text}");
}

#[test]
fn a_family_without_a_prefix_and_peers_that_went_count_nothing() {
    let metrics = Metrics::default();
    metrics.set_usage(&[(false, Usage { leased: 3, cooling: 1, free: 249 })]);
    let peer = |state| PeerStatus { backend: "vxlan", state, ..PeerStatus::default() };
    metrics.set_peers(&[peer("linked"), peer("linked")]);
    metrics.set_peers(&[peer("linked")]);
    let text = metrics.render();
    assert!(text.contains(r#"tripod_ipam_addresses{family="ipv4",state="leased"} 3"#), "{text}");
    assert!(text.contains(r#"tripod_ipam_addresses{family="ipv6",state="free"} 0"#), "{text}");
    assert!(text.contains(r#"tripod_peers{backend="vxlan",state="linked"} 1"#), "{text}");
}

#[test]
fn a_file_that_is_not_ours_any_more_has_no_series() {
    let metrics = Metrics::default();
    let file = |name: &str, state| Installed { path: name.into(), state, why: "because".to_owned() };
    metrics.set_installed(&[
        file("/etc/tripod/node.yaml", State::Refused),
        file("/opt/cni/bin/tripod-cni", State::Current),
        file("/config", State::Failed),
    ]);
    let series = || {
        let text = metrics.render();
        let series = text.lines().filter_map(|line| line.strip_prefix("tripod_install_current"));
        series.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let expected = [r#"{file="node.yaml"} 0"#, r#"{file="tripod-cni"} 1"#];
    assert_eq!(series(), BTreeSet::from(expected.map(str::to_owned)));
    metrics.set_installed(&[file("/opt/cni/bin/tripod-cni", State::Failed)]);
    assert_eq!(series(), BTreeSet::from([r#"{file="tripod-cni"} 0"#.to_owned()]));
}
