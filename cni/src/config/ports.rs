//! `runtimeConfig.portMappings`, checked. No I/O.

use std::net::{IpAddr, Ipv6Addr};

use super::raw::Object;
use super::{json, parse_ip};
use crate::error::Error;
use crate::hostport::{HostPort, Protocol};

/// Most host ports of an attachment: all their elements change in one transaction, which must fit a
/// socket's buffer.
const MOST: usize = 256;

/// The host ports that the runtime asks for in `runtime`.
pub(super) fn complete(runtime: &Object) -> Result<Vec<HostPort>, Error> {
    const KEY: &str = "portMappings";
    let listed = runtime.objects(KEY)?;
    if listed.len() > MOST {
        let problem = format!("has more than {MOST} entries");
        return Err(Error::config(runtime.name(KEY), format!("({} entries)", listed.len()), problem));
    }
    let mut ports: Vec<HostPort> = Vec::new();
    for entry in &listed {
        let Some(port) = parse(entry)? else { continue };
        if ports.iter().any(|earlier| earlier.covers(&port)) {
            continue;
        }
        // A later entry may say more than an earlier one.
        ports.retain(|earlier| !port.covers(earlier));
        if let Some(earlier) = ports.iter().find(|earlier| earlier.overlaps(&port)) {
            let problem =
                format!("leads to container port {} and to {}", earlier.container_port, port.container_port);
            let field = entry.name("hostPort");
            return Err(Error::config(field, format!("{} {}", port.protocol, port.host_port), problem));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// Nothing when the host port is 0: the container port is only told.
fn parse(entry: &Object) -> Result<Option<HostPort>, Error> {
    let number = |key: &str, problem: &str| {
        let number = entry.get::<i64>(key)?.unwrap_or_default();
        u16::try_from(number).map_err(|_beyond| Error::config(entry.name(key), number, problem))
    };
    let host_port = number("hostPort", "is not between 1 and 65535; 0 means none")?;
    if host_port == 0 {
        return Ok(None);
    }
    let range = "is not between 1 and 65535";
    let container_port = number("containerPort", range)?;
    if container_port == 0 {
        return Err(Error::config(entry.name("containerPort"), 0, range));
    }
    let (protocol, host_ip) = (protocol(entry)?, host_ip(entry)?);
    Ok(Some(HostPort { protocol, host_port, container_port, host_ip }))
}

fn protocol(entry: &Object) -> Result<Protocol, Error> {
    let text = entry.get::<String>("protocol")?.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(Protocol::Tcp) };
    let problem = "is not tcp, udp or sctp";
    Protocol::parse(&text).ok_or_else(|| Error::config(entry.name("protocol"), json(&text), problem))
}

fn host_ip(entry: &Object) -> Result<Option<IpAddr>, Error> {
    const KEY: &str = "hostIP";
    let Some(text) = entry.get::<String>(KEY)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let address = parse_ip(&entry.name(KEY), &text)?.to_canonical();
    if address == IpAddr::V6(Ipv6Addr::LOCALHOST) {
        let problem = "cannot lead to a pod: the kernel forwards nothing from ::1; use \"127.0.0.1\"";
        return Err(Error::config(entry.name(KEY), json(&text), problem));
    }
    if address.is_multicast() {
        return Err(Error::config(entry.name(KEY), json(&text), "is a multicast address"));
    }
    Ok(Some(address))
}
