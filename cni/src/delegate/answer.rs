//! The result of a delegated ADD, of any version. Pure.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Fault;
use crate::ipam::range::Assignment;
use crate::spec::Route;

/// Most addresses and routes taken from a plugin.
const MOST: usize = 64;

/// What a plugin gives to an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its addresses, at least one.
    pub assignments: Vec<Assignment>,
    /// Its routes; absent where the plugin names none.
    pub routes: Option<Vec<Route>>,
    /// Its name servers.
    pub dns: Option<Value>,
}

/// As it is written: `ips` and `routes` from 0.3.0 on, `ip4` and `ip6` before.
#[derive(Debug, Deserialize)]
struct Raw {
    ips: Option<Vec<RawAddress>>,
    routes: Option<Vec<Route>>,
    ip4: Option<RawFamily>,
    ip6: Option<RawFamily>,
    dns: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct RawAddress {
    address: IpNetwork,
    gateway: Option<IpAddr>,
}

#[derive(Debug, Deserialize)]
struct RawFamily {
    ip: IpNetwork,
    gateway: Option<IpAddr>,
    routes: Option<Vec<Route>>,
}

impl Answer {
    /// Reads what a plugin printed.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Fault> {
        let raw: Raw = serde_json::from_slice(text).map_err(|_error| Fault::no_document(text))?;
        let listed = raw.ips.unwrap_or_default().into_iter().map(|ip| (ip.address, ip.gateway));
        let mut assignments: Vec<Assignment> =
            listed.map(|(address, gateway)| Assignment { address, gateway }).collect();
        let mut routes = raw.routes.unwrap_or_default();
        for family in [raw.ip4, raw.ip6].into_iter().flatten() {
            assignments.push(Assignment { address: family.ip, gateway: family.gateway });
            routes.extend(family.routes.unwrap_or_default());
        }
        if assignments.is_empty() {
            return Err(Fault::NoAddress);
        }
        if assignments.len() > MOST || routes.len() > MOST {
            return Err(Fault::TooMany { limit: MOST });
        }
        let routes = (!routes.is_empty()).then_some(routes);
        Ok(Self { assignments, routes, dns: raw.dns.filter(|dns| !says_nothing(dns)) })
    }
}

fn says_nothing(dns: &Value) -> bool {
    dns.as_object().is_none_or(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_every_version_is_read() {
        let old = r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1",
            "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {}}"#;
        let new = r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "interface": -1,
            "address": "10.0.0.5/24", "gateway": "10.0.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]}"#;
        for text in [old, new] {
            let answer = Answer::parse(text.as_bytes()).unwrap();
            assert_eq!(answer.assignments[0].address.to_string(), "10.0.0.5/24");
            assert_eq!(answer.assignments[0].gateway, Some("10.0.0.1".parse().unwrap()));
            assert_eq!(answer.routes, Some(vec![Route::to("0.0.0.0/0".parse().unwrap(), None)]));
            assert_eq!(answer.dns, None);
        }
        let bare = Answer::parse(br#"{"ips": [{"address": "fd00::2/64"}], "routes": null}"#).unwrap();
        assert_eq!((bare.assignments.len(), bare.routes), (1, None));
    }

    #[test]
    fn what_gives_no_address_is_a_fault() {
        let many = format!("{{\"ips\": [{}]}}", [r#"{"address": "10.0.0.5/24"}"#; 65].join(","));
        for (text, fault) in [
            ("", "no JSON"),
            ("[]", "no JSON"),
            ("{\"ips\": \"x\"}", "no JSON"),
            ("{}", "no address"),
            ("{\"ips\": []}", "no address"),
            (many.as_str(), "more than 64"),
        ] {
            let error = Answer::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
    }
}
