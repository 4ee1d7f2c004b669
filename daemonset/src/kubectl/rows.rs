//! Answers of nodes as rows of a table. Pure.

use serde_json::Value;

use crate::status::say;

/// How an answer becomes rows.
pub(super) struct Rows {
    /// Names of the columns after the node's.
    pub(super) head: &'static [&'static str],
    /// The cells of each row.
    pub(super) cells: fn(&Value) -> Vec<Vec<String>>,
    /// Whether all is well.
    pub(super) is_good: fn(&Value) -> bool,
}

pub(super) static STATUS: Rows = Rows {
    head: &["STATE", "SINCE", "POD CIDRS", "PEERS", "FREE", "DETAIL"],
    cells: |status| {
        let (linked, all) = peers(status);
        let free: Vec<String> = items(status, "leases").map(|leases| say(leases, "free")).collect();
        vec![vec![
            say(status, "phase"),
            say(status, "since"),
            say(status, "podCIDRs"),
            format!("{linked}/{all}"),
            free.join(", "),
            say(status, "detail"),
        ]]
    },
    is_good: |status| status.get("ready").and_then(Value::as_bool).unwrap_or_default(),
};

pub(super) static DOCTOR: Rows = Rows {
    head: &["SEVERITY", "CHECK", "OBJECT", "EVIDENCE", "FIX"],
    cells: |findings| {
        let found = array(findings).filter(|finding| say(finding, "severity") != "ok");
        let rows: Vec<_> =
            found.map(|it| row(it, &["severity", "check", "object", "evidence", "fix"])).collect();
        if rows.is_empty() { vec![vec!["ok".to_owned()]] } else { rows }
    },
    is_good: |findings| array(findings).all(|finding| say(finding, "severity") != "fail"),
};

pub(super) static LEASES: Rows = Rows {
    head: &["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "SINCE", "ALIVE"],
    cells: |leases| {
        let keys = ["network", "address", "containerID", "ifname", "since", "alive"];
        array(leases).map(|lease| row(lease, &keys)).collect()
    },
    is_good: Value::is_array,
};

pub(super) static DEVICES: Rows = Rows {
    head: &["RESOURCE", "DEVICE", "KIND", "MODEL", "HEALTH"],
    cells: |answer| {
        let keys = ["resource", "id", "kind", "model", "health"];
        items(answer, "devices").map(|device| row(device, &keys)).collect()
    },
    is_good: |answer| answer.get("devices").is_some_and(Value::is_array),
};

fn peers(status: &Value) -> (usize, usize) {
    let linked = items(status, "peers").filter(|peer| say(peer, "state") == "linked").count();
    (linked, items(status, "peers").count())
}

fn row(object: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| say(object, key)).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).into_iter().flat_map(array)
}
