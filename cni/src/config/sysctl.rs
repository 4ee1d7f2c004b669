//! Key `sysctl`: kernel parameters below `net`, to be set in the pod's namespace. No I/O.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::raw::Object;
use super::{json, most};
use crate::error::Error;

/// Longest key and longest value in bytes.
const LONGEST: usize = 1024;

/// A part of a key that stands for the pod's interface, as in the reference plugin `tuning`.
const PLACEHOLDER: &str = "IFNAME";

/// A kernel parameter and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// As it is written in the configuration.
    pub key: String,
    /// What it is set to.
    pub value: String,
    parts: Vec<String>,
}

impl Parameter {
    /// Checks the object under `sysctl`.
    pub(super) fn complete(object: &Object) -> Result<Vec<Self>, Error> {
        let asked = object.get::<BTreeMap<String, String>>("sysctl")?.unwrap_or_default();
        most("sysctl", asked.len())?;
        let mut parameters: Vec<Self> = Vec::new();
        for (key, value) in asked {
            let bad = |problem| Error::config(format!("sysctl.{key}"), json(&value), problem);
            let parts = parts(&key).map_err(bad)?;
            check_value(&value).map_err(bad)?;
            if parameters.iter().any(|earlier| earlier.parts == parts) {
                return Err(bad("is there twice, in two spellings"));
            }
            parameters.push(Self { key, value, parts });
        }
        Ok(parameters)
    }

    /// Its file below `/proc/sys`, where `ifname` is the pod's interface.
    pub(crate) fn path(&self, ifname: &str) -> PathBuf {
        self.parts.iter().map(|part| if part == PLACEHOLDER { ifname } else { part.as_str() }).collect()
    }
}

/// As sysctl(8) reads a key: whichever of `.` and `/` comes first separates, and the other one then
/// stands for a `.` in a name. The parts are single names, so that none leaves its folder.
fn parts(key: &str) -> Result<Vec<String>, &'static str> {
    if key.len() > LONGEST {
        return Err("has too long a key");
    }
    let separator =
        if key.find('/') < key.find('.') && key.contains('/') || !key.contains('.') { '/' } else { '.' };
    let parts: Vec<String> = key.split(separator).map(|part| part.replace('/', ".")).collect();
    let is_name =
        |part: &String| !["", ".", ".."].contains(&part.as_str()) && !part.contains(char::is_control);
    match parts.first() {
        Some(first) if first == "net" && parts.len() > 1 && parts.iter().all(is_name) => Ok(parts),
        Some(first) if first == "net" => Err("is no kernel parameter's name"),
        _ => Err("is not below \"net.\", and so not a parameter of the pod's network namespace"),
    }
}

fn check_value(value: &str) -> Result<(), &'static str> {
    match value {
        "" => Err("is empty"),
        _ if value.len() > LONGEST => Err("is too long a value"),
        _ if value.contains(|char: char| char.is_control() && char != '\t') => {
            Err("holds control characters")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(sysctl: &Value) -> Result<Vec<Parameter>, Error> {
        let text = json!({ "sysctl": sysctl }).to_string();
        Parameter::complete(&Object::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn both_spellings_and_the_placeholder_are_read() {
        for (key, path) in [
            ("net.core.somaxconn", "net/core/somaxconn"),
            ("net/core/somaxconn", "net/core/somaxconn"),
            ("net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.7/arp_filter"),
            ("net/ipv4/conf/IFNAME/arp_filter", "net/ipv4/conf/eth0.7/arp_filter"),
            ("net/ipv4/conf/eth1.5/arp_filter", "net/ipv4/conf/eth1.5/arp_filter"),
            ("net.ipv4.conf.eth1/5.arp_filter", "net/ipv4/conf/eth1.5/arp_filter"),
        ] {
            let parameters = read(&json!({ key: "1" })).unwrap();
            assert_eq!(parameters[0].path("eth0.7"), Path::new(path), "{key}");
        }
        assert!(read(&json!({})).unwrap().is_empty() && read(&Value::Null).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_of_the_namespace_is_refused_by_name() {
        for key in [
            "kernel.panic",
            "vm/overcommit_memory",
            "net",
            "net.",
            "net..x",
            "net/../kernel/panic",
            "network.x",
            "/net/core/x",
            "net/./x",
            ".net.x",
            "",
            "net.core.x\n",
            "Net.core.x",
        ] {
            let error = read(&json!({ key: "1" })).unwrap_err();
            assert!(
                error.code() == 7 && error.to_string().contains(&format!("sysctl.{key}=\"1\"")),
                "{error}"
            );
        }
        for value in [json!(1), json!(""), json!("1\n2"), json!("x".repeat(1025)), json!(true), json!(["1"])]
        {
            assert_eq!(read(&json!({ "net.core.x": value })).unwrap_err().code(), 7, "{value}");
        }
        let many: BTreeMap<String, &str> = (0..65).map(|n| (format!("net.core.x{n}"), "1")).collect();
        assert!(read(&json!(many)).unwrap_err().to_string().contains("64"));
        let twice = json!({"net.core.somaxconn": "1", "net/core/somaxconn": "2"});
        assert!(read(&twice).unwrap_err().to_string().contains("twice"));
    }

    proptest! {
        #[test]
        fn no_key_leaves_the_folder_net(key in "(net)?[./]?[a-z./]{0,12}(IFNAME)?[./]{0,3}[a-z]{0,3}") {
            if let Ok(parameters) = read(&json!({ key: "1" })) {
                let path = parameters[0].path("eth0");
                prop_assert!(path.starts_with("net") && path.components().count() > 1, "{path:?}");
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
            }
        }
    }
}
