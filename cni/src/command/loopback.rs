//! Persona `loopback`: containerd executes it once per sandbox, beside the network's own ADD.

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{require_version, versions};
use crate::config::Outline;
use crate::error::Error;
use crate::netns::{self, Netns};
use crate::patience::within;
use crate::rtnl::Rtnl;
use crate::spec::{Address, Args, Command, Interface, Success, restate};

/// `CNI_IFNAME` does not count: there is one loopback interface, and it has this name.
const LOOPBACK: &str = "lo";

pub(crate) fn run(args: &Args, text: &[u8], dirs: &super::Dirs) -> Result<Option<Value>, Error> {
    if args.command == Command::Version {
        return Ok(Some(versions()));
    }
    let outline = Outline::parse(text, &dirs.leases)?;
    require_version(args.command, outline.version)?;
    match args.command {
        Command::Add => within("ADD", 30, || add(args, &outline)).map(Some),
        Command::Del => within("DEL", 30, || unset(args)).map(|()| None),
        Command::Check => within("CHECK", 10, || check(args)).map(|()| None),
        Command::Gc | Command::Status | Command::Version => Ok(None),
    }
}

fn add(args: &Args, outline: &Outline) -> Result<Value, Error> {
    let prior = outline.prior_result()?;
    let (sandbox, index) = open(args)?;
    sandbox.set_up(index, true).map_err(Error::kernel("set up", LOOPBACK))?;
    // Behind other plugins their result is what counts, and this adds nothing to it.
    if let Some(prior) = prior {
        return Ok(restate(prior, outline.version));
    }
    let addresses = sandbox.addresses(index).map_err(Error::kernel("list the addresses of", LOOPBACK))?;
    Ok(success(args, addresses).render(outline.version))
}

fn set_down(args: &Args) -> Result<(), Error> {
    let (sandbox, index) = open(args)?;
    sandbox.set_up(index, false).map_err(Error::kernel("set down", LOOPBACK))
}

/// A sandbox that is gone has no loopback left to set down.
fn unset(args: &Args) -> Result<(), Error> {
    if args.netns.is_none() {
        return Ok(());
    }
    match set_down(args) {
        Err(error) if netns::is_gone(&error) => Ok(()),
        other => other,
    }
}

fn check(args: &Args) -> Result<(), Error> {
    let (sandbox, index) = open(args)?;
    let link = sandbox.link_at(index).map_err(Error::kernel("look up interface", LOOPBACK))?;
    if link.is_some_and(|link| link.up) {
        return Ok(());
    }
    Err(Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem: "the loopback interface is down".to_owned(),
    })
}

fn open(args: &Args) -> Result<(Rtnl, u32), Error> {
    let netns = Netns::open(args.netns.as_deref().unwrap_or("".as_ref()), args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    let look = || Error::kernel("look up interface", LOOPBACK);
    let link = sandbox.link(LOOPBACK).map_err(look())?;
    let gone = || look()(std::io::Error::from_raw_os_error(nix::errno::Errno::ENODEV as i32));
    Ok((sandbox, link.ok_or_else(gone)?.index))
}

/// With what `lo` has now: without IPv6 in the sandbox there is no `::1`.
fn success(args: &Args, addresses: Vec<IpNetwork>) -> Success {
    let mac = "00:00:00:00:00:00".to_owned();
    let place = args.netns.as_ref().map(|path| path.display().to_string());
    let interface = Interface { name: LOOPBACK.to_owned(), mac, mtu: None, sandbox: place };
    let address = |address| Address { address, gateway: None, interface: Some(0) };
    let ips = addresses.into_iter().map(address).collect();
    Success { interfaces: vec![interface], ips, ..Success::default() }
}
