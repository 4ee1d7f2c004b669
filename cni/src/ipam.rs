//! Address management: pure ranges and a store of leases that is one folder of small files, or an IPAM
//! plugin that the configuration names.

mod cooling;
mod hint;
mod lease;
pub(crate) mod range;
mod resolv;
mod search;
pub(crate) mod shelf;
pub(crate) mod store;
mod sweep;
mod taken;
pub(crate) mod usage;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::clock;
use crate::command::Node;
use crate::config::{Ipam, NetConf};
use crate::delegate::Answer;
use crate::error::Error;
use crate::file;
use crate::journal::{Journal, Undo};
use crate::record::{Entry, Record, Records};
use crate::spec::Route;
use lease::Holder;
use range::Assignment;
use shelf::{Recorded, Refusal, Want};
use store::{Owner, Store};
pub(crate) use sweep::sweep;

/// Longest `resolv.conf` read, in bytes.
const LONGEST_RESOLV_CONF: u64 = 64 << 10;

/// What an attachment gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Its addresses.
    pub assignments: Vec<Assignment>,
    /// Its routes; absent means default routes of each family.
    pub routes: Option<Vec<Route>>,
    /// `dns` of the result.
    pub dns: Option<Value>,
}

impl Grant {
    /// What is known of the attachment of `record` later on.
    pub(crate) fn of(record: &Record, conf: &NetConf) -> Self {
        let assignment = |ip: &IpAddr| Assignment { address: IpNetwork::from(*ip), gateway: None };
        let routes = match &record.delegated {
            Some(delegated) => delegated.routes.clone(),
            None => conf.ipam.routes.clone(),
        };
        let assignments = record.addresses.iter().map(assignment).collect();
        Self { assignments, routes, dns: conf.dns.clone() }
    }

    /// The addresses alone.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.assignments.iter().map(|assignment| assignment.address.ip()).collect()
    }
}

/// Gets addresses for the attachment of `record`, from the store or from the plugin that it names.
pub(crate) fn obtain(
    conf: &NetConf,
    node: &Node,
    record: &mut Record,
    journal: &mut Journal,
) -> Result<Grant, Error> {
    let mut grant = match &mut record.delegated {
        Some(delegated) => {
            journal.push(Undo::ReleaseDelegated);
            let Answer { assignments, routes, dns } = node.plugins.add(&delegated.plugin)?;
            delegated.routes.clone_from(&routes);
            Grant { assignments, routes, dns }
        }
        None => {
            let dns = read_dns(&conf.ipam)?;
            let assignments = lease(conf, &node.records, record, journal)?;
            Grant { assignments, routes: conf.ipam.routes.clone(), dns }
        }
    };
    grant.dns = conf.dns.clone().or(grant.dns);
    Ok(grant)
}

fn lease(
    conf: &NetConf,
    records: &Records,
    record: &Record,
    journal: &mut Journal,
) -> Result<Vec<Assignment>, Error> {
    journal.push(Undo::ReleaseAnyLease);
    let reserved = reserve(&conf.name, &conf.ipam, records, &record.owner());
    if !matches!(reserved, Err(Error::State { .. })) {
        // All or nothing, and known; only a folder that fails is searched afterwards.
        journal.pop();
    }
    let assignments = reserved?;
    let addresses = assignments.iter().map(|assignment| assignment.address.ip()).collect();
    journal.push(Undo::ReleaseLeases(addresses));
    Ok(assignments)
}

/// Reserves one address of each range set of `ipam` for `owner`, or none at all.
pub(crate) fn reserve(
    network: &str,
    ipam: &Ipam,
    records: &Records,
    owner: &Owner<'_>,
) -> Result<Vec<Assignment>, Error> {
    let wanted = ipam.wanted.iter().copied().chain(std::iter::repeat(None));
    let wants: Vec<Want<'_>> =
        ipam.sets.iter().zip(wanted).map(|(set, address)| Want { set, address }).collect();
    let store = Store::new(&ipam.store);
    let read = || recorded(records, &ipam.store).ok();
    let lock = store.lock()?;
    let reserved = lock.reserve(&wants, owner, &Recorded::new(&read), clock::since_boot());
    drop(lock);
    let addresses = reserved.map_err(|refusal| match refusal {
        Refusal::Failed(error) => error,
        Refusal::Full(set) => exhausted(network, set, ipam),
        Refusal::Taken(address, holder) => taken(network, ipam, address, holder, records),
    })?;
    Ok(ipam.sets.iter().zip(addresses).filter_map(|(set, address)| set.assign(address)).collect())
}

fn exhausted(network: &str, set: usize, ipam: &Ipam) -> Error {
    let ranges = ipam.sets.get(set).map(ToString::to_string).unwrap_or_default();
    Error::Exhausted { network: network.to_owned(), set, ranges }
}

fn taken(network: &str, ipam: &Ipam, address: IpAddr, holder: Option<Holder>, records: &Records) -> Error {
    let owner = match holder {
        None => {
            let file = ipam.store.join(address.to_string());
            format!("file {}, which is no lease; remove it if nobody needs it", file.display())
        }
        Some(Holder { container_id, ifname }) => {
            let ifname = ifname.unwrap_or_default();
            let owner = Owner { container_id: &container_id, ifname: &ifname };
            // Whose pod it is makes the message better; not knowing it is no second failure.
            let pod = records.load(&owner).ok().flatten().and_then(|record| record.pod);
            let pod = pod.map(|pod| format!(" (pod {pod})")).unwrap_or_default();
            format!("container {container_id}{pod}")
        }
    };
    Error::AddressTaken { address, network: network.to_owned(), owner }
}

/// Addresses in `store` that attachment records name. One record that cannot be read may name any.
fn recorded(records: &Records, store: &Path) -> Result<HashSet<IpAddr>, Error> {
    let mut addresses = HashSet::new();
    for entry in records.list()? {
        match entry? {
            Entry::Whole(record) if record.store == store => addresses.extend(record.addresses),
            Entry::Whole(_) => {}
            Entry::Unreadable { hash } => {
                let path = records.path_of(&hash);
                return Err(Error::UnreadableRecord { path, store: store.to_owned() });
            }
        }
    }
    Ok(addresses)
}

/// `resolvConf`, where the configuration names one.
pub(crate) fn read_dns(ipam: &Ipam) -> Result<Option<Value>, Error> {
    let Some(path) = &ipam.resolv_conf else { return Ok(None) };
    let text = file::read(path, LONGEST_RESOLV_CONF).map_err(Error::state("read ipam.resolvConf", path))?;
    Ok(resolv::parse(&String::from_utf8_lossy(&text)))
}
