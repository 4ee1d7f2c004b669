//! Every problem of a configuration, for a person who looks at the file. ADD stops at the first. No I/O.
//!
//! What was wrong is taken out or replaced by something that is right, and the rest judged again. Of a list
//! the first wrong entry is told: without it the others would not have their numbers any more.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Outline, bridge};
use crate::error::Error;

/// Most problems told of one configuration.
const MOST: usize = 64;

/// What stands in for ranges that are none.
const GOOD_RANGE: &str = "192.0.2.0/24";

/// All that would fail every ADD with `conf`, in the order in which ADD would find it.
pub(crate) fn problems(conf: &Map<String, Value>, leases: &Path) -> Vec<Error> {
    let (mut conf, mut mended, mut problems) = (conf.clone(), Vec::<String>::new(), Vec::new());
    while problems.len() < MOST
        && let Err(error) = judge(&conf, leases, mended.iter().all(|field| !is_within(field, "ipam")))
    {
        let Some(field) = field_of(&error) else {
            problems.push(error);
            break;
        };
        let before = conf.clone();
        mend(&mut conf, &field);
        // What is missing only because it was taken out is no problem of the file's.
        if !mended.iter().any(|earlier| is_within(earlier, &field)) {
            problems.push(error);
        }
        mended.push(field);
        if conf == before {
            break;
        }
    }
    problems
}

fn field_of(error: &Error) -> Option<String> {
    match error {
        Error::Config { field, .. } => Some(field.clone()),
        Error::Missing { field, .. } => Some((*field).to_owned()),
        _ => None,
    }
}

/// Whether `field` is what `path` leads to, or below it.
fn is_within(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ' ']))
}

/// As ADD would, and with the network's `own` ranges also what is asked of them.
fn judge(conf: &Map<String, Value>, leases: &Path, own: bool) -> Result<(), Error> {
    let text = Value::Object(conf.clone()).to_string();
    let outline = Outline::parse(text.as_bytes(), leases)?;
    if outline.is_chained() {
        return outline.complete_chained().map(drop);
    }
    let conf = outline.complete()?;
    if own { conf.asked().map(drop) } else { Ok(()) }
}

/// Makes the key at the path `field` one that nothing is wrong with.
fn mend(conf: &mut Map<String, Value>, field: &str) {
    let key = field.split(['.', '[']).next().unwrap_or_default();
    match key {
        "name" => drop(conf.insert("name".to_owned(), json!("pods"))),
        "cniVersion" => drop(conf.insert("cniVersion".to_owned(), json!("1.1.0"))),
        "mode" if bridge::KEYS.iter().any(|key| conf.contains_key(*key)) => {
            conf.insert("mode".to_owned(), json!("bridge"));
        }
        "ipam" => {
            take_out(conf, field);
            if !has_range(conf) {
                give_range(conf);
            }
        }
        // One half of a limit without the other would be wrong too.
        "runtimeConfig" if is_within(field, "runtimeConfig.bandwidth") => {
            take_out(conf, "runtimeConfig.bandwidth");
        }
        _ if key.ends_with("Rate") || key.ends_with("Burst") => {
            let side = key.trim_end_matches("Rate").trim_end_matches("Burst");
            ["Rate", "Burst"].iter().for_each(|half| drop(conf.remove(&format!("{side}{half}"))));
        }
        _ => drop(take_out(conf, field)),
    }
}

fn has_range(conf: &Map<String, Value>) -> bool {
    let ipam = conf.get("ipam").and_then(Value::as_object);
    ipam.is_some_and(|ipam| ipam.contains_key("ranges") || ipam.contains_key("subnet"))
}

fn give_range(conf: &mut Map<String, Value>) {
    let ipam = conf.remove("ipam").and_then(|ipam| ipam.as_object().cloned());
    let mut ipam = ipam.unwrap_or_default();
    ["subnet", "rangeStart", "rangeEnd", "gateway"].iter().for_each(|key| drop(ipam.remove(*key)));
    ipam.insert("ranges".to_owned(), json!([[{"subnet": GOOD_RANGE}]]));
    conf.insert("ipam".to_owned(), Value::Object(ipam));
}

/// Removes what `path` names below `keys`: a key, or the list that the path leads into.
fn take_out(keys: &mut Map<String, Value>, path: &str) -> bool {
    let find = |keys: &Map<String, Value>, name: &str| {
        keys.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
    };
    // Names of kernel parameters have dots in them.
    if let Some(key) = find(keys, path) {
        return keys.remove(&key).is_some();
    }
    let Some((first, rest)) = path.split_once(['.', '[', ' ']) else { return false };
    let Some(key) = find(keys, first) else { return false };
    if let Some(Value::Object(inner)) = keys.get_mut(&key)
        && take_out(inner, rest)
    {
        return true;
    }
    keys.remove(&key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(conf: &Value) -> Vec<String> {
        let field = |error: Error| field_of(&error).unwrap_or_else(|| error.to_string());
        let found = problems(conf.as_object().unwrap(), Path::new("/l")).into_iter().map(field);
        found.collect()
    }

    #[test]
    fn every_wrong_key_is_found_once_and_nothing_else() {
        let good = json!({"cniVersion": "1.1.0", "name": "n", "ipam": {"subnet": "10.1.0.0/24"}});
        assert!(fields(&good).is_empty());
        let bad = json!({
            "cniVersion": "1.1.0", "name": "../up", "mtu": 7, "nodeIPs": ["x"], "dns": 3, "agentState": 1,
            "ipMasq": "yes", "masqueradeExclude": ["y"], "egressRate": 3, "egressBurst": 100, "ingressBurst": 9,
            "sysctl": {"net.a": "", "kernel.b": "1", "net.c": "1"}, "vlan": 3,
            "runtimeConfig": {"PortMappings": [{"HostPort": -1}], "mac": "m", "bandwidth": {"IngressRate": 9}},
            "ipam": {"dataDir": "r", "routes": [{"dst": "z"}], "ranges": [[{"subnet": "10.1.0.0"}]]},
        });
        let found = fields(&bad);
        let mut all = vec![
            "name",
            "vlan",
            "nodeIPs[0]",
            "dns",
            "ipam.dataDir",
            "ipam.routes[0].dst",
            "ipam.ranges[0][0].subnet",
            "mtu",
            "agentState",
            "runtimeConfig.portMappings[0].hostPort",
            "masqueradeExclude",
            "ipMasq",
            "runtimeConfig.mac",
            "egressRate",
            "ingressBurst",
            "runtimeConfig.bandwidth.ingressRate",
            "sysctl.kernel.b",
            "sysctl.net.a",
        ];
        let mut sorted: Vec<&str> =
            found.iter().map(|field| if field == "nodeIPs" { "nodeIPs[0]" } else { field }).collect();
        all.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(sorted, all, "{found:?}");
    }

    #[test]
    fn what_follows_from_another_problem_is_none_of_its_own() {
        for (conf, expected) in [
            (json!({"ipam": null}), vec!["ipam"]),
            (
                json!({"ipam": {"ranges": [[{"subnet": "x"}]], "type": "../x"}}),
                vec!["ipam.type", "ipam.ranges[0][0].subnet"],
            ),
            (
                json!({"ipam": {"subnet": "10.1.0.0/24"}, "mode": "bridged", "bridge": "br%d"}),
                vec!["mode", "bridge"],
            ),
            (
                json!({"ipam": {"subnet": "10.1.0.0/24"}, "args": {"cni": {"ips": ["10.9.0.1"]}}}),
                vec!["args.cni.ips"],
            ),
            (
                json!({"ipam": {"subnet": "10.1.0.0/24"}, "vlanTrunk": [{}], "vlan": 9999, "mode": "bridge"}),
                vec!["vlan", "vlanTrunk[0]"],
            ),
            (
                json!({"mode": "chained", "ipam": {}, "mtu": 1300, "sysctl": 3, "prevResult": {}}),
                vec!["mtu", "sysctl"],
            ),
        ] {
            let mut conf = conf;
            conf["cniVersion"] = json!("1.0.0");
            conf["name"] = json!("n");
            assert_eq!(fields(&conf), expected, "{conf}");
        }
        let old = json!({
            "cniVersion": "0.2.0", "name": "n",
            "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]},
        });
        assert_eq!(fields(&old), ["cniVersion"]);
    }
}
