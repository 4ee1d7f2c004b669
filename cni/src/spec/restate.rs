//! A result of another plugin, handed on.

use serde_json::{Map, Value, json};

use super::Version;

/// Keys of an interface and of a route that came with 1.1.0.
const NEW_IN_INTERFACES: [&str; 3] = ["mtu", "socketPath", "pciID"];
const NEW_IN_ROUTES: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

/// `result` in the shape of `version`. One that has it already is not touched, and keys that we do not
/// know stay in any case.
pub(crate) fn restate(mut result: Value, version: Version) -> Value {
    if result.get("cniVersion").and_then(Value::as_str) == Some(version.as_str()) {
        return result;
    }
    let Some(keys) = result.as_object_mut() else { return result };
    keys.insert("cniVersion".to_owned(), json!(version));
    each(keys, "ips", |address| restate_address(address, version));
    if version < Version::V1_1_0 {
        each(keys, "interfaces", |interface| remove(interface, &NEW_IN_INTERFACES));
        each(keys, "routes", |route| remove(route, &NEW_IN_ROUTES));
    }
    result
}

/// The family's number is a key of its own before 1.0.0.
fn restate_address(keys: &mut Map<String, Value>, version: Version) {
    if version >= Version::V1_0_0 {
        keys.remove("version");
        return;
    }
    let text = keys.get("address").and_then(Value::as_str).unwrap_or_default();
    let family = if text.contains(':') { "6" } else { "4" };
    keys.entry("version").or_insert_with(|| json!(family));
}

fn each(keys: &mut Map<String, Value>, list: &str, change: impl Fn(&mut Map<String, Value>)) {
    let entries = keys.get_mut(list).and_then(Value::as_array_mut);
    entries.into_iter().flatten().filter_map(Value::as_object_mut).for_each(change);
}

fn remove(keys: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        keys.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_asked_version_is_handed_on_as_it_is() {
        let odd = json!({"cniVersion": "1.0.0", "ips": [{"version": "4", "x": 1}], "vendor": {"k": [null]}, "interfaces": 3});
        assert_eq!(restate(odd.clone(), Version::V1_0_0), odd);
    }

    #[test]
    fn another_version_changes_only_what_the_versions_differ_in() {
        let new = json!({
            "cniVersion": "1.1.0", "vendor": 1,
            "interfaces": [{"name": "eth0", "mtu": 1400, "mac": "m", "x": 1}],
            "ips": [{"address": "10.0.0.2/24", "interface": 0}, {"address": "fd00::2/64"}],
            "routes": [{"dst": "0.0.0.0/0", "mtu": 1400, "table": 7}],
        });
        let old = json!({
            "cniVersion": "0.4.0", "vendor": 1,
            "interfaces": [{"name": "eth0", "mac": "m", "x": 1}],
            "ips": [{"version": "4", "address": "10.0.0.2/24", "interface": 0}, {"version": "6", "address": "fd00::2/64"}],
            "routes": [{"dst": "0.0.0.0/0"}],
        });
        assert_eq!(restate(new, Version::V0_4_0), old);
        let mut back = old.clone();
        back["cniVersion"] = json!("1.0.0");
        back["ips"] = json!([{"address": "10.0.0.2/24", "interface": 0}, {"address": "fd00::2/64"}]);
        assert_eq!(restate(old, Version::V1_0_0), back);
    }
}
