//! Limiting what an attachment may send and receive.
//!
//! What goes to the pod leaves the host end, so a token bucket there holds it back. What comes from the
//! pod is received by the host end, and takes a detour through an ifb device with a bucket of its own.

use std::io;

use nix::errno::Errno;

use crate::config::{Bandwidth, Limit};
use crate::error::{self, Error};
use crate::ipam::store::Owner;
use crate::journal::{Journal, Undo};
use crate::nft::base::LINK_GROUP;
use crate::record::{Record, attachment_hash};
use crate::rtnl::{Bucket, Link, Rtnl};

const TBF: &str = "token bucket filters (CONFIG_NET_SCH_TBF)";
const IFB: &str = "intermediate functional blocks (CONFIG_IFB)";
const INGRESS: &str = "the ingress queueing discipline (CONFIG_NET_SCH_INGRESS)";
const DETOUR: &str = "filters that redirect (CONFIG_NET_CLS_U32, CONFIG_NET_CLS_ACT, CONFIG_NET_ACT_MIRRED)";

/// A burst that nobody chose lasts for this part of a second, and has at most so many bytes.
const DEFAULT_BURST_PER_SECOND: u64 = 10;
const MOST_DEFAULT_BURST: u64 = 16 << 20;

/// What waits for the bucket beyond its burst, in parts of a second: 25 ms.
const WAITING_PER_SECOND: u64 = 40;

/// An Ethernet header with a VLAN tag, which counts too.
const HEADER: u32 = 18;

/// Name of the ifb device of `owner`'s attachment.
pub(crate) fn ifb_name(owner: &Owner<'_>) -> String {
    ifb_of(&attachment_hash(owner))
}

/// Name of the ifb device of the attachment that `hash` stands for.
pub(crate) fn ifb_of(hash: &str) -> String {
    format!("ti{hash}")
}

/// Notes in `record` what [`attach`] will make, so that DEL knows whenever it ends.
pub(crate) fn intend(bandwidth: &Bandwidth, record: &mut Record) {
    record.ingress_limit = bandwidth.ingress.is_some();
    record.ifb = bandwidth.egress.map(|_| ifb_name(&record.owner()));
}

/// Limits what passes `link`, the host end of the attachment of `record`.
pub(crate) fn attach(
    host: &Rtnl,
    link: &Link,
    bandwidth: &Bandwidth,
    record: &Record,
    journal: &mut Journal,
) -> Result<(), Error> {
    if let (Some(limit), Some(ifb)) = (bandwidth.egress, &record.ifb) {
        let ifb = create_ifb(host, link, ifb, record, journal)?;
        let added = host.add_bucket(ifb.index, &bucket(limit, link.mtu));
        added.map_err(refused("tbf", &ifb, TBF))?;
        journal.push(Undo::LiftLimits);
        if let Err(source) = host.add_ingress(link.index) {
            // Nothing of ours is on that link; what is there is somebody else's.
            journal.pop();
            return Err(refused("ingress", link, INGRESS)(source));
        }
        let detour = host.add_detour(link.index, ifb.index);
        detour.map_err(refused("u32 filter", link, DETOUR))?;
    }
    if let Some(limit) = bandwidth.ingress {
        journal.push(Undo::LiftLimits);
        let added = host.add_bucket(link.index, &bucket(limit, link.mtu));
        added.map_err(refused("tbf", link, TBF))?;
    }
    Ok(())
}

fn create_ifb(
    host: &Rtnl,
    link: &Link,
    name: &str,
    record: &Record,
    journal: &mut Journal,
) -> Result<Link, Error> {
    journal.push(Undo::DeleteIfb);
    let created = host.create_ifb(name, LINK_GROUP, link.mtu);
    if let Err(source) = created {
        // Nothing was made; whatever has that name is not ours to delete.
        journal.pop();
        if error::is(&source, Errno::EEXIST) {
            return Err(Error::InterfaceExists { ifname: name.to_owned(), place: "on the node" });
        }
        return Err(lacking(IFB, source, Error::kernel("create interface", name)));
    }
    let named = host.set_alias(name, &super::alias(&record.owner()));
    let found = host.link(name).map_err(Error::kernel("look up interface", name))?;
    named.map_err(Error::kernel("set the alias of", name))?;
    let gone = || Error::kernel("look up interface", name)(Errno::ENODEV.into());
    found.ok_or_else(gone)
}

fn refused(what: &'static str, link: &Link, feature: &'static str) -> impl FnOnce(io::Error) -> Error {
    let object = format!("{what} on interface {:?}", link.name);
    move |source| {
        let taken = error::is(&source, Errno::EEXIST);
        let object = if taken { format!("{object}: it has one already that is not ours") } else { object };
        lacking(feature, source, Error::kernel("add", object))
    }
}

/// The kernel's answers for a kind that it does not know.
fn lacking(feature: &'static str, source: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
    if [Errno::ENOENT, Errno::EOPNOTSUPP].iter().any(|errno| error::is(&source, *errno)) {
        return Error::KernelFeature { feature, source };
    }
    otherwise(source)
}

/// A packet larger than the bucket never passes, so the bucket holds at least one of them.
fn bucket(limit: Limit, mtu: u32) -> Bucket {
    let default = (limit.rate / DEFAULT_BURST_PER_SECOND).min(MOST_DEFAULT_BURST);
    let burst = limit.burst.unwrap_or(u32::try_from(default).unwrap_or(u32::MAX));
    let burst = burst.max(mtu.saturating_add(HEADER));
    let waiting = (limit.rate / WAITING_PER_SECOND).saturating_add(u64::from(burst));
    Bucket { rate: limit.rate, burst, limit: u32::try_from(waiting).unwrap_or(u32::MAX) }
}

/// Takes our limits off a link that stays, and leaves those of others. The kernel may give the number of a
/// link that is gone to another one, whose limits are not ours.
pub(crate) fn lift(host: &Rtnl, index: u32, record: &Record) -> Result<(), Error> {
    let name = &record.host_ifname;
    let limited = record.ingress_limit || record.ifb.is_some();
    if !limited || !has_name(host, index, name)? {
        return Ok(());
    }
    if record.ingress_limit {
        removed(host.delete_bucket(index), "tbf", name)?;
    }
    if record.ifb.is_none() {
        return Ok(());
    }
    let look = Error::kernel("look at the filters of interface", name);
    let (ours, others) = match host.filters(index) {
        Err(error) if is_absence(&error) => return Ok(()),
        // Filters of a kind that we cannot read are others'.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => (true, true),
        filters => filters.map_err(look)?,
    };
    match (ours, others) {
        (true, true) => removed(host.delete_detour(index), "u32 filter", name),
        (false, true) => Ok(()),
        // Empty, or with ours alone: it was made for ours.
        (_, false) => removed(host.delete_ingress(index), "ingress", name),
    }
}

fn has_name(host: &Rtnl, index: u32, name: &str) -> Result<bool, Error> {
    let link = host.link_at(index).map_err(Error::kernel("look up interface", name))?;
    Ok(link.is_some_and(|link| link.name == name))
}

/// That it is gone already is no failure.
fn removed(answer: io::Result<()>, what: &str, name: &str) -> Result<(), Error> {
    match answer {
        Err(error) if !is_absence(&error) => {
            Err(Error::kernel("delete", format!("{what} of {name:?}"))(error))
        }
        _ => Ok(()),
    }
}

/// The kernel's answers where there is no such device, discipline or filter, or another one.
fn is_absence(error: &io::Error) -> bool {
    [Errno::ENOENT, Errno::EINVAL, Errno::ENODEV].iter().any(|errno| error::is(error, *errno))
}

/// What is missing of the limits that were set for the attachment of `record` on `link`.
pub(crate) fn difference(host: &Rtnl, link: &Link, record: &Record) -> Result<Option<String>, Error> {
    let lost = |what, name| Ok(Some(format!("the {what} of {name:?} is gone")));
    if record.ingress_limit && !host.has_bucket(link.index).map_err(looking_at(&link.name))? {
        return lost("token bucket", &link.name);
    }
    let Some(name) = &record.ifb else { return Ok(None) };
    let Some(ifb) = host.link(name).map_err(looking_at(name))? else {
        return Ok(Some(format!("interface {name:?}, which limits what the pod sends, is gone")));
    };
    if !host.has_bucket(ifb.index).map_err(looking_at(name))? {
        return lost("token bucket", name);
    }
    let (ours, _others) = host.filters(link.index).map_err(looking_at(&link.name))?;
    if ours { Ok(None) } else { lost("filter to the ifb device", &link.name) }
}

fn looking_at(name: &str) -> impl FnOnce(io::Error) -> Error {
    Error::kernel("look at the queueing disciplines of", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_a_packet_and_its_queue_25_ms_more() {
        let chosen = bucket(Limit { rate: 2_500_000, burst: Some(20_000) }, 1500);
        assert_eq!((chosen.burst, chosen.limit), (20_000, 82_500));
        assert_eq!(bucket(Limit { rate: 125, burst: Some(1) }, 9000).burst, 9018);
    }

    #[test]
    fn a_burst_that_nobody_chose_follows_the_rate_within_bounds() {
        let burst = |rate| bucket(Limit { rate, burst: None }, 1500).burst;
        assert_eq!([burst(1), burst(1_250_000), burst(u64::MAX)], [1518, 125_000, 16 << 20]);
        assert_eq!(bucket(Limit { rate: u64::MAX, burst: None }, 1500).limit, u32::MAX);
    }
}
