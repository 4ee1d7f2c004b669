//! Host ports of one attachment, by its record alone, in whatever mode its links are made.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;

use crate::command::Node;
use crate::conntrack::{Connection, Conntrack};
use crate::error::{self, Error};
use crate::hostport::{self, HostPort, Mapping, Protocol};
use crate::nft::ports::{self, Claim, Taken};
use crate::nft::{self, Family, Nft};
use crate::record::{Record, Records};
use crate::rtnl::Rtnl;
use crate::sysctl;

const TABLE: &str = "nftables table inet tripod";

/// Takes the record's host ports for its addresses; nobody else may have them.
pub(crate) fn claim(record: &Record, node: &Node) -> Result<(), Error> {
    let mappings = mappings(record)?;
    let claim = claim_of(record, &mappings);
    let taken = node.nft().and_then(|nft| ports::claim(nft, &claim)).map_err(refused)?;
    match taken {
        None => require_sctp(&record.host_ports),
        Some(taken) => Err(told(&taken, &node.records)),
    }
}

/// Lets connections in once the pod is reached by `device`: those from the node's 127.0.0.1, which the
/// kernel lets on no other device, and those over UDP that it remembers from before. Without a device,
/// where it is another plugin's and not guarded by us, 127.0.0.1 is left out.
pub(crate) fn open(record: &Record, device: Option<&str>, rtnl: &Rtnl) -> Result<(), Error> {
    let mappings = mappings(record)?;
    if let Some(device) = device
        && mappings.iter().any(|one| one.pod.is_ipv4() && one.host.is_none_or(|host| host.is_loopback()))
    {
        sysctl::set(Path::new(sysctl::ROOT), &format!("ipv4/conf/{device}/route_localnet"), "1")
            .map_err(Error::kernel("set sysctl", format!("net.ipv4.conf.{device}.route_localnet=1")))?;
    }
    for family in Family::ALL {
        forget_stale(&mappings, family, rtnl)?;
    }
    Ok(())
}

/// Gives back the record's host ports, whether it has all of them or not.
pub(crate) fn release(record: &Record, node: &Node) -> Result<(), Error> {
    let release = |nft| ports::release(nft, &record.owner(), &record.host_ports, &record.addresses);
    let released = node.nft().and_then(release);
    let pods = released.map_err(Error::kernel("remove the host ports from", TABLE))?;
    forget_pods(&record.host_ports, &pods);
    Ok(())
}

/// Gives back all host ports of the attachment with this hash, where nobody wrote down which. Without
/// nf_tables in the kernel there are none.
pub(crate) fn release_any(hash: &str) -> Result<(), Error> {
    match Nft::open().and_then(|nft| ports::release_all(&nft, hash)) {
        Err(error) if !nft::is_lacking(&error) && !error::is(&error, Errno::EINVAL) => {
            Err(Error::kernel("remove host ports from", TABLE)(error))
        }
        _ => Ok(()),
    }
}

/// The first of the record's host ports that is no more.
pub(crate) fn lost(record: &Record) -> Result<Option<String>, Error> {
    let mappings = mappings(record)?;
    if mappings.is_empty() {
        return Ok(None);
    }
    let claim = claim_of(record, &mappings);
    Nft::open().and_then(|nft| ports::lost(&nft, &claim)).map_err(Error::kernel("look at", TABLE))
}

/// Puts back the record's host ports, if any of them was lost. Says whether it had to.
pub(crate) fn restore(nft: &Nft, record: &Record, records: &Records) -> Result<bool, Error> {
    let mappings = mappings(record)?;
    if mappings.is_empty() {
        return Ok(false);
    }
    let claim = claim_of(record, &mappings);
    let lost = || ports::lost(nft, &claim).map_err(Error::kernel("look at", TABLE));
    if lost()?.is_none() {
        return Ok(false);
    }
    let restored = ports::restore(nft, &claim).map_err(Error::kernel("restore the host ports in", TABLE))?;
    if let Some(taken) = restored {
        return Err(told(&taken, records));
    }
    // What stays lost must not be restored for ever without a word.
    let (container_id, ifname) = (record.container_id.clone(), record.ifname.clone());
    lost()?.map_or(Ok(true), |problem| Err(Error::CheckFailed { container_id, ifname, problem }))
}

fn claim_of<'a>(record: &'a Record, mappings: &'a [Mapping]) -> Claim<'a> {
    Claim { owner: record.owner(), mappings, bridge: record.shared_device.as_deref() }
}

fn mappings(record: &Record) -> Result<Vec<Mapping>, Error> {
    hostport::mappings(&record.host_ports, &record.addresses)
}

fn refused(source: io::Error) -> Error {
    const FEATURE: &str =
        "nf_tables with NAT (CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_INET, CONFIG_NFT_CT)";
    if nft::is_lacking(&source) {
        return Error::KernelFeature { feature: FEATURE, source };
    }
    Error::kernel("add host ports to", TABLE)(source)
}

fn told(taken: &Taken, records: &Records) -> Error {
    let holder = match records.by_hash(&taken.hash) {
        Ok(Some(record)) => {
            let pod = record.pod.iter().map(|pod| format!(" (pod {pod})")).collect::<String>();
            format!("container {} on {}{pod}", record.container_id, record.ifname)
        }
        _ if !has_our_mark(taken) => format!("an element of {TABLE} that is not ours"),
        _ => format!("{} which has no attachment record", taken.holder),
    };
    Error::HostPortTaken { port: taken.wanted.to_string(), holder }
}

/// Whether the element's comment begins as ours do.
fn has_our_mark(taken: &Taken) -> bool {
    let is_hash = !taken.hash.is_empty() && taken.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash && !taken.holder.is_empty()
}

/// Without its own tracking, SCTP would be led to the pod's address but not to its port.
fn require_sctp(ports: &[HostPort]) -> Result<(), Error> {
    const KEY: &str = "netfilter/nf_conntrack_sctp_timeout_established";
    let wanted = ports.iter().any(|port| port.protocol == Protocol::Sctp);
    if !wanted || sysctl::exists(Path::new(sysctl::ROOT), KEY) {
        return Ok(());
    }
    let source = io::Error::from(Errno::EPROTONOSUPPORT);
    Err(Error::KernelFeature { feature: "connection tracking of SCTP (CONFIG_NF_CT_PROTO_SCTP)", source })
}

fn udp_ports(mappings: &[Mapping], family: Family) -> Vec<u16> {
    let udp = mappings.iter().filter(|one| one.protocol == Protocol::Udp && Family::of(one.pod) == family);
    let mut ports: Vec<u16> = udp.map(|one| one.host_port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Forgets connections that would be led to the pod were they new.
fn forget_stale(mappings: &[Mapping], family: Family, rtnl: &Rtnl) -> Result<(), Error> {
    const FEATURE: &str = "access to connection tracking (CONFIG_NF_CT_NETLINK), which UDP host ports need";
    let ports = udp_ports(mappings, family);
    if ports.is_empty() {
        return Ok(());
    }
    let failed = |source: io::Error| match source.raw_os_error() {
        // The kernel's answer for a part of netfilter that it lacks.
        Some(errno) if errno == Errno::EINVAL as i32 => Error::KernelFeature { feature: FEATURE, source },
        _ => Error::kernel("look at", "tracked UDP connections")(source),
    };
    let conntrack = Conntrack::open().map_err(failed)?;
    for connection in conntrack.udp_to(family, &ports).map_err(failed)? {
        if is_meant(mappings, &connection, rtnl)? {
            conntrack.forget(&connection).map_err(failed)?;
        }
    }
    Ok(())
}

fn is_meant(mappings: &[Mapping], connection: &Connection, rtnl: &Rtnl) -> Result<bool, Error> {
    let destination = connection.destination;
    let of_port = |one: &&Mapping| one.protocol == Protocol::Udp && one.host_port == connection.port;
    if mappings.iter().filter(of_port).any(|one| one.host == Some(destination)) {
        return Ok(true);
    }
    // A name server's port is also that of connections to elsewhere, which must live on.
    let any = mappings.iter().filter(of_port).any(|one| one.host.is_none());
    let look = Error::kernel("look up the route to", destination);
    Ok(any && rtnl.is_local(destination).map_err(look)?)
}

/// Forgets connections that host ports over UDP led to `pods`. Best effort: they end by themselves, the
/// next who takes the port forgets them too, and DEL must not fail for them.
fn forget_pods(ports: &[HostPort], pods: &[IpAddr]) {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let mut numbers: Vec<u16> = udp.map(|port| port.host_port).collect();
    numbers.sort_unstable();
    numbers.dedup();
    // Not even a socket: when one is closed, the kernel waits until the memory of whatever anybody
    // removed from nf_tables is free, as long as a link takes to go.
    if numbers.is_empty() {
        return;
    }
    let Ok(conntrack) = Conntrack::open() else { return };
    let families =
        Family::ALL.into_iter().filter(|family| pods.iter().any(|pod| Family::of(*pod) == *family));
    for family in families {
        let connections = conntrack.udp_to(family, &numbers).unwrap_or_default();
        let stale = connections.iter().filter(|connection| pods.contains(&connection.answerer));
        stale.for_each(|connection| drop(conntrack.forget(connection)));
    }
}
