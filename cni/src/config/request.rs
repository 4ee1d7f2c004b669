//! What is asked for one attachment, beyond what the network gives to all. The first that says anything
//! counts, and the others are not looked at: `runtimeConfig` (the runtime's capabilities), then
//! `args.cni` (the configuration), then `CNI_ARGS` (the environment, deprecated).

use std::net::IpAddr;

use super::raw::Object;
use super::{bounded, json};
use crate::error::Error;
use crate::rtnl::Mac;
use crate::spec::Args;

/// What is asked for one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Addresses, at most one of each range set.
    pub addresses: Vec<IpAddr>,
    /// Hardware address of the pod's end.
    pub mac: Option<Mac>,
    /// Where the addresses were asked for.
    pub source: String,
}

impl Request {
    /// Reads what the configuration asks for. `runtime` is its `runtimeConfig` with folded keys.
    pub(super) fn complete(object: &Object, runtime: &Object) -> Result<Self, Error> {
        let args = object.object("args")?.map(|args| args.object("cni")).transpose()?.flatten();
        let mut request = Self::default();
        for place in std::iter::once(runtime).chain(&args) {
            let listed = place.get::<Vec<String>>("ips")?.unwrap_or_default();
            if request.addresses.is_empty() && !listed.is_empty() {
                request.source = place.name("ips");
                request.addresses = addresses(&request.source, &listed)?;
            }
            let mac = place.get::<String>("mac")?.filter(|mac| !mac.is_empty());
            if let (None, Some(mac)) = (request.mac, mac) {
                request.mac = Some(parse_mac(&place.name("mac"), &mac)?);
            }
        }
        Ok(request)
    }

    /// Adds what `CNI_ARGS` asks for and the configuration does not.
    pub(super) fn or_of(mut self, args: &Args) -> Result<Self, Error> {
        const IP: &str = "CNI_ARGS IP";
        if let (true, Some(list)) = (self.addresses.is_empty(), &args.ip) {
            let listed: Vec<String> = list.split(',').map(|ip| ip.trim().to_owned()).collect();
            self.addresses = addresses(IP, &listed)?;
            self.source = IP.to_owned();
        }
        if let (None, Some(mac)) = (self.mac, &args.mac) {
            self.mac = Some(parse_mac("CNI_ARGS MAC", mac)?);
        }
        Ok(self)
    }
}

/// With or without a prefix length, which the subnet decides.
fn addresses(field: &str, listed: &[String]) -> Result<Vec<IpAddr>, Error> {
    bounded(field, listed)?;
    let parse = |text: &String| {
        let (ip, length) = text.split_once('/').unwrap_or((text, "0"));
        let ip: IpAddr = super::parse_ip(field, ip)?;
        if length.parse::<u8>().is_ok_and(|length| length <= if ip.is_ipv4() { 32 } else { 128 }) {
            return Ok(ip.to_canonical());
        }
        Err(Error::config(field, json(text), "has a wrong prefix length"))
    };
    listed.iter().map(parse).collect()
}

fn parse_mac(field: &str, text: &str) -> Result<Mac, Error> {
    let bad = |problem: &str| Error::config(field, json(text), problem);
    let mac: Mac = text.parse().map_err(|()| bad("is no hardware address, as in \"02:00:00:00:00:01\""))?;
    if !mac.is_unicast() {
        return Err(bad("is no unicast hardware address: the first byte must be even, and one not zero"));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::conf;
    use super::*;
    use crate::spec::Env;

    fn args(cni_args: &str) -> Args {
        let pairs = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0")];
        let pairs = pairs.into_iter().chain([("CNI_NETNS", "/n"), ("CNI_ARGS", cni_args)]);
        let env: Env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Args::parse(&env).unwrap().unwrap()
    }

    fn wanted(runtime: Value, cni: Value, cni_args: &str) -> Result<Vec<String>, Error> {
        let conf = conf(|c| {
            c["runtimeConfig"] = runtime;
            c["args"] = json!({"cni": cni});
        })?;
        let conf = conf.asked_by(&args(cni_args))?;
        let wanted = conf.ipam.wanted.iter();
        let wanted = wanted.map(|ip| ip.map_or_else(|| "any".to_owned(), |ip| ip.to_string()));
        Ok(wanted.chain(conf.request.mac.map(|mac| mac.to_string())).collect())
    }

    #[test]
    fn the_runtime_comes_first_then_the_configuration_then_the_environment() {
        let (runtime, args) = (json!({"IPs": ["10.1.0.7/16"]}), json!({"ips": ["10.1.0.8"]}));
        let env = "IgnoreUnknown=1;IP=10.1.0.9,fd00:1::9";
        assert_eq!(wanted(runtime.clone(), args.clone(), env).unwrap(), ["10.1.0.7", "any"]);
        assert_eq!(wanted(Value::Null, args, env).unwrap(), ["10.1.0.8", "any"]);
        assert_eq!(wanted(json!({"ips": null}), Value::Null, env).unwrap(), ["10.1.0.9", "fd00:1::9"]);
        assert_eq!(wanted(json!({"ips": []}), json!({"ips": []}), "IP=").unwrap(), ["any", "any"]);
        // The one that counts less is not even read.
        assert_eq!(wanted(runtime, Value::Null, "IP=rubbish").unwrap(), ["10.1.0.7", "any"]);
        let mac = |runtime, cni, env| wanted(runtime, cni, env).unwrap().pop().unwrap();
        let (first, second) = (json!({"Mac": "02:00:00:00:00:0A"}), json!({"mac": "02-00-00-00-00-0b"}));
        assert_eq!(mac(first.clone(), second.clone(), "MAC=02:00:00:00:00:0c"), "02:00:00:00:00:0a");
        assert_eq!(mac(json!({}), second, "MAC=02:00:00:00:00:0c"), "02:00:00:00:00:0b");
        assert_eq!(
            mac(json!({"mac": null}), json!({"mac": ""}), "MAC=02:00:00:00:00:0c"),
            "02:00:00:00:00:0c"
        );
    }

    #[test]
    fn what_cannot_be_given_is_named_with_its_place() {
        for (runtime, named) in [
            (json!({"ips": ["10.1.0"]}), "no IP address"),
            (json!({"ips": [""]}), "no IP address"),
            (json!({"ips": ["10.1.0.7/33"]}), "wrong prefix length"),
            (json!({"ips": ["10.9.0.7"]}), "10.1.0.1-10.1.0.254"),
            (json!({"ips": ["10.1.0.1"]}), "gateway"),
            (json!({"ips": ["10.1.0.255"]}), "no range"),
            (json!({"ips": ["10.1.0.7", "10.1.0.7"]}), "twice"),
            (json!({"ips": ["10.1.0.7", "::ffff:10.1.0.7"]}), "twice"),
            (json!({"ips": ["10.1.0.7", "10.1.0.8"]}), "second address"),
            (json!({"IPs": "10.1.0.7"}), "ips"),
            (json!({"mac": "02:00:00:00:00"}), "no hardware address"),
            (json!({"mac": "02:00:00:00:00:00:01"}), "no hardware address"),
            (json!({"mac": "+2:00:00:00:00:01"}), "no hardware address"),
            (json!({"mac": "01:00:00:00:00:01"}), "unicast"),
            (json!({"mac": "00:00:00:00:00:00"}), "unicast"),
        ] {
            let error = wanted(runtime.clone(), Value::Null, "").unwrap_err();
            let text = error.to_string();
            assert!(error.code() == 7 && text.contains("runtimeConfig."), "{runtime}: {text}");
            assert!(text.contains(named), "{runtime}: {text}");
        }
        let error = wanted(Value::Null, Value::Null, "IP=10.9.0.9").unwrap_err();
        assert!(error.to_string().contains("CNI_ARGS IP"), "{error}");
        let error = wanted(Value::Null, json!({"ips": ["10.9.0.9"]}), "").unwrap_err();
        assert!(error.to_string().contains("args.cni.ips"), "{error}");
    }

    #[test]
    fn ranges_that_the_runtime_asks_for_come_before_the_networks() {
        let runtime =
            json!({"IpRanges": [[{"Subnet": "10.7.0.0/24", "RangeStart": "10.7.0.9"}]], "ips": ["10.7.0.9"]});
        assert_eq!(wanted(runtime, Value::Null, "").unwrap(), ["10.7.0.9", "any", "any"]);
        for (ranges, named) in [
            (json!([[{"subnet": "10.1.0.0/25"}]]), "ipam.ranges[0]"),
            (json!([[{"subnet": "10.1.0"}]]), "runtimeConfig.ipRanges[0][0].subnet"),
            (json!([[]]), "runtimeConfig.ipRanges[0]"),
            (json!("x"), "runtimeConfig.ipRanges="),
        ] {
            let error = wanted(json!({"ipRanges": ranges}), Value::Null, "").unwrap_err();
            assert!(error.code() == 7 && error.to_string().contains(named), "{ranges}: {error}");
        }
    }
}
