//! A status as a person reads it. Pure.

use serde_json::Value;

/// Several lines.
pub fn table(status: &Value) -> String {
    let mut text =
        format!("node {}: {}, since {}\n", say(status, "node"), say(status, "detail"), say(status, "since"));
    for (name, key) in
        [("pod CIDRs", "podCIDRs"), ("node IPs", "nodeIPs"), ("config generation", "configGeneration")]
    {
        text.push_str(&format!("  {name}: {}\n", say(status, key)));
    }
    for leases in list(status, "leases") {
        let of = |key| say(leases, key);
        let (family, leased, cooling, free) = (of("family"), of("leased"), of("cooling"), of("free"));
        text.push_str(&format!("  leases {family}: {leased} leased, {cooling} cooling down, {free} free\n"));
    }
    for overlay in list(status, "overlays") {
        let of = |key| say(overlay, key);
        let (name, local, vni, port, mtu) = (of("name"), of("local"), of("vni"), of("port"), of("mtu"));
        text.push_str(&match overlay.get("vni") {
            Some(_) => format!("  overlay {name}: from {local} port {port}, VNI {vni}, MTU {mtu}\n"),
            None => format!("  WireGuard {name}: port {port}, MTU {mtu}\n"),
        });
    }
    for failure in list(status, "failures") {
        text.push_str(&format!("  failed: {}\n", plain(failure.as_str().unwrap_or_default())));
    }
    for file in list(status, "installed").iter().filter(|file| say(file, "state") != "current") {
        text.push_str(&format!("  {} {}: {}\n", say(file, "state"), say(file, "path"), say(file, "why")));
    }
    let peers = list(status, "peers");
    if !peers.is_empty() {
        let keys = ["name", "backend", "state", "addresses", "podCIDRs", "why"];
        let rows: Vec<Vec<String>> =
            peers.iter().map(|peer| keys.iter().map(|key| say(peer, key)).collect()).collect();
        text.push_str(&columns(&["PEER", "BACKEND", "STATE", "ADDRESSES", "POD CIDRS", "WHY"], &rows));
    }
    text
}

/// Rows under a head, each column as wide as its widest cell.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let render = |line: &&Vec<String>| {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    lines.iter().map(render).collect()
}

/// What other nodes say is not to move the cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// A field as text; `-` where there is none.
pub(crate) fn say(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(items)) => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), plain);
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
