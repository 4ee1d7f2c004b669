//! Persona `tripod-ipam`: the lease store for other main plugins, as `ipam.type`. What it gives has no
//! attachment record; the leases themselves name container and interface.

use serde_json::Value;

use super::{require_version, status, versions};
use crate::clock;
use crate::config::{Ipam, Outline};
use crate::error::Error;
use crate::ipam;
use crate::ipam::store::{Owner, Store};
use crate::patience::within;
use crate::record::Records;
use crate::spec::{Address, Args, Command, Success};

pub(crate) fn run(args: &Args, text: &[u8], dirs: &super::Dirs) -> Result<Option<Value>, Error> {
    if args.command == Command::Version {
        return Ok(Some(versions()));
    }
    let outline = Outline::parse(text, &dirs.leases)?;
    require_version(args.command, outline.version)?;
    let records = Records::new(dirs.attachments.clone());
    let store = Store::new(&outline.store);
    match args.command {
        Command::Add => within("ADD", 30, || add(args, outline, &records)).map(Some),
        Command::Del => {
            let release = || store.release_all(&owner(args), clock::since_boot());
            within("DEL", 30, release).map(|()| None)
        }
        Command::Check => within("CHECK", 10, || check(args, outline, &store)).map(|()| None),
        Command::Gc => within("GC", 60, || gc(&outline, &store, &records)).map(|()| None),
        Command::Status => {
            let probe = || status::on_a_thread(move || store.probe());
            within("STATUS", 1, probe).map(|()| None)
        }
        Command::Version => Ok(Some(versions())),
    }
}

fn add(args: &Args, outline: Outline, records: &Records) -> Result<Value, Error> {
    let (version, name) = (outline.version, outline.name.clone());
    let ipam = outline.complete_ipam(args)?;
    refuse_twice(args, &name, &ipam)?;
    let dns = ipam::read_dns(&ipam)?;
    let assignments = ipam::reserve(&name, &ipam, records, &owner(args))?;
    let ips = assignments.into_iter().map(|one| Address {
        address: one.address,
        gateway: one.gateway,
        interface: None,
    });
    let routes = ipam.routes.unwrap_or_default();
    Ok(Success { ips: ips.collect(), routes, dns, ..Success::default() }.render(version))
}

/// As in host-local: without a record nobody could tell later which of two addresses is in use.
fn refuse_twice(args: &Args, network: &str, ipam: &Ipam) -> Result<(), Error> {
    let held = Store::new(&ipam.store).held_by(&owner(args))?;
    let given = held.into_iter().filter(|ip| ipam.sets.iter().any(|set| set.slot_of(*ip).is_some()));
    given.min().map_or(Ok(()), |address| {
        let (container_id, ifname) = (args.container_id.clone(), args.ifname.clone());
        Err(Error::GivenBefore { address, network: network.to_owned(), container_id, ifname })
    })
}

/// What ADD gave must still be leased: all of it where the runtime remembers it.
fn check(args: &Args, outline: Outline, store: &Store) -> Result<(), Error> {
    let prior = outline.prior()?;
    let ipam = outline.complete_ipam(args)?;
    let failed = |problem| Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem,
    };
    let held = store.held_by(&owner(args))?;
    let ours = |ip: &std::net::IpAddr| ipam.sets.iter().any(|set| set.gives(*ip));
    let lost = prior.ips.iter().map(|ip| ip.address.ip()).find(|ip| ours(ip) && !held.contains(ip));
    match lost {
        Some(lost) => Err(failed(format!("the lease of {lost} is gone from {:?}", store.folder()))),
        None if held.is_empty() => Err(failed(format!("it holds no lease in {:?}", store.folder()))),
        None => Ok(()),
    }
}

fn gc(outline: &Outline, store: &Store, records: &Records) -> Result<(), Error> {
    match outline.valid_attachments()? {
        Some(valid) => ipam::sweep(store, records, &valid),
        None => Ok(()),
    }
}

fn owner(args: &Args) -> Owner<'_> {
    Owner { container_id: &args.container_id, ifname: &args.ifname }
}
