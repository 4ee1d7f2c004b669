//! Host ports: which connections to the node are led to a pod. Pure.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::nft::Family;

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node that leads to one of the pod's, as the runtime asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The node's address. Absent means all of both families, unspecified all of its family.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// A host port of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's address; absent for all addresses of the family.
    pub host: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's address.
    pub pod: IpAddr,
    /// The pod's port.
    pub container_port: u16,
}

impl Protocol {
    /// Its name in any case; Kubernetes writes capitals.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|one| text.eq_ignore_ascii_case(one.name()))
    }

    /// `IPPROTO_*`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host_port, .. } = self;
        match self.host {
            None => write!(f, "{protocol} {host_port}"),
            Some(host) => write!(f, "{protocol} {host_port} of {host}"),
        }
    }
}

impl HostPort {
    /// The one address that is meant, if it is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host_ip.filter(|address| !address.is_unspecified())
    }

    /// Whether `family` is meant.
    pub(crate) fn is_of(&self, family: Family) -> bool {
        self.host_ip.is_none_or(|address| Family::of(address) == family)
    }

    /// Whether some connection would be of both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let families = Family::ALL.into_iter().any(|family| self.is_of(family) && other.is_of(family));
        let same_address = match (self.address(), other.address()) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        (self.protocol, self.host_port) == (other.protocol, other.host_port) && families && same_address
    }

    /// Whether every connection that `other` leads on, this one leads to the same port.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let families = Family::ALL.into_iter().all(|family| self.is_of(family) || !other.is_of(family));
        let address = self.address().is_none() || self.address() == other.address();
        self.overlaps(other) && self.container_port == other.container_port && families && address
    }
}

/// The host ports of a pod with `addresses`: of each family the first address counts.
pub(crate) fn mappings(ports: &[HostPort], addresses: &[IpAddr]) -> Result<Vec<Mapping>, Error> {
    let mut mappings = Vec::new();
    for port in ports {
        let pods = Family::ALL
            .into_iter()
            .filter(|family| port.is_of(*family))
            .filter_map(|family| addresses.iter().copied().find(|address| Family::of(*address) == family));
        let before = mappings.len();
        mappings.extend(pods.map(|pod| Mapping {
            protocol: port.protocol,
            host: port.address(),
            host_port: port.host_port,
            pod,
            container_port: port.container_port,
        }));
        // The unspecified address of a family that the pod lacks is what some clients send for "any".
        if let (true, Some(address)) = (before == mappings.len(), port.address()) {
            let problem = "is of a family in which the pod has no address";
            return Err(Error::config("runtimeConfig.portMappings hostIP", address, problem));
        }
    }
    Ok(mappings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host_port: u16, container_port: u16, ip: &str) -> HostPort {
        let host_ip = (!ip.is_empty()).then(|| ip.parse().unwrap());
        HostPort { protocol, host_port, container_port, host_ip }
    }

    fn tcp(ip: &str) -> HostPort {
        port(Protocol::Tcp, 80, 8080, ip)
    }

    #[test]
    fn each_family_of_the_pod_gets_what_was_asked_for_it() {
        let both: Vec<IpAddr> = ["10.0.0.2", "fd00::2", "10.9.0.2"].map(|ip| ip.parse().unwrap()).into();
        let told = |ip: &str, addresses: &[IpAddr]| {
            let mappings = mappings(&[tcp(ip)], addresses).unwrap();
            mappings.iter().map(|one| format!("{one} to {}", one.pod)).collect::<Vec<_>>()
        };
        assert_eq!(told("", &both), ["tcp 80 to 10.0.0.2", "tcp 80 to fd00::2"]);
        assert_eq!(told("0.0.0.0", &both), ["tcp 80 to 10.0.0.2"]);
        assert_eq!(told("::", &both), ["tcp 80 to fd00::2"]);
        assert_eq!(told("192.0.2.1", &both), ["tcp 80 of 192.0.2.1 to 10.0.0.2"]);
        assert_eq!(told("2001:db8::1", &both), ["tcp 80 of 2001:db8::1 to fd00::2"]);
        assert_eq!(told("", &both[1..2]), ["tcp 80 to fd00::2"]);
        assert!(told("0.0.0.0", &both[1..2]).is_empty());
        let error = mappings(&[tcp("192.0.2.1")], &both[1..2]).unwrap_err();
        assert!(error.code() == 7 && error.to_string().contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn any_address_overlaps_each_of_its_family() {
        for (one, two, overlap, covers) in [
            ("", "", true, true),
            ("", "192.0.2.1", true, true),
            ("192.0.2.1", "", true, false),
            ("192.0.2.1", "192.0.2.2", false, false),
            ("192.0.2.1", "192.0.2.1", true, true),
            ("0.0.0.0", "192.0.2.1", true, true),
            ("0.0.0.0", "", true, false),
            ("0.0.0.0", "::", false, false),
            ("::", "192.0.2.1", false, false),
            ("0.0.0.0", "2001:db8::1", false, false),
        ] {
            assert_eq!(tcp(one).overlaps(&tcp(two)), overlap, "{one} {two}");
            assert_eq!(tcp(one).covers(&tcp(two)), covers, "{one} {two}");
        }
        assert!(!tcp("").overlaps(&port(Protocol::Udp, 80, 8080, "")));
        assert!(!tcp("").overlaps(&port(Protocol::Tcp, 81, 8080, "")));
        assert!(!tcp("").covers(&port(Protocol::Tcp, 80, 8081, "")));
    }
}
