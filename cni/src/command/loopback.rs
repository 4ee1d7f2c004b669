//! Persona `loopback`: containerd executes it once per sandbox, beside the network's own ADD.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{require_version, versions, within};
use crate::config::Outline;
use crate::error::Error;
use crate::netns::{self, Netns};
use crate::rtnl::Rtnl;
use crate::spec::{Address, Args, Command, Interface, Success};

pub(crate) async fn run(args: &Args, text: &[u8], dirs: &super::Dirs) -> Result<Option<Value>, Error> {
    if args.command == Command::Version {
        return Ok(Some(versions()));
    }
    let outline = Outline::parse(text, &dirs.leases)?;
    require_version(args.command, outline.version)?;
    match args.command {
        Command::Add => within("ADD", 30, set(args, true)).await.map(|()| Some(success(args, &outline))),
        Command::Del => within("DEL", 30, unset(args)).await.map(|()| None),
        Command::Check => within("CHECK", 10, check(args)).await.map(|()| None),
        Command::Gc | Command::Status | Command::Version => Ok(None),
    }
}

async fn set(args: &Args, up: bool) -> Result<(), Error> {
    let (sandbox, index) = open(args).await?;
    sandbox.set_up(index, up).await.map_err(Error::kernel("set up or down", &args.ifname))
}

/// A sandbox that is gone has no loopback left to set down.
async fn unset(args: &Args) -> Result<(), Error> {
    if args.netns.is_none() {
        return Ok(());
    }
    match set(args, false).await {
        Err(error) if netns::is_gone(&error) => Ok(()),
        other => other,
    }
}

async fn check(args: &Args) -> Result<(), Error> {
    let (sandbox, index) = open(args).await?;
    let link = sandbox.link_at(index).await.map_err(Error::kernel("look up interface", &args.ifname))?;
    if link.is_some_and(|link| link.up) {
        return Ok(());
    }
    Err(Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem: "the loopback interface is down".to_owned(),
    })
}

async fn open(args: &Args) -> Result<(Rtnl, u32), Error> {
    let netns = Netns::open(args.netns.as_deref().unwrap_or("".as_ref()), args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    let look = || Error::kernel("look up interface", &args.ifname);
    let link = sandbox.link(&args.ifname).await.map_err(look())?;
    let gone = || look()(std::io::Error::from_raw_os_error(nix::errno::Errno::ENODEV as i32));
    Ok((sandbox, link.ok_or_else(gone)?.index))
}

fn success(args: &Args, outline: &Outline) -> Value {
    let sandbox = args.netns.as_ref().map(|path| path.display().to_string());
    let interface =
        Interface { name: args.ifname.clone(), mac: "00:00:00:00:00:00".to_owned(), mtu: None, sandbox };
    let prefix = |ip: IpAddr, length| IpNetwork::new(ip, length).unwrap_or_else(|_error| IpNetwork::from(ip));
    let address = |address| Address { address, gateway: None, interface: Some(0) };
    Success {
        interfaces: vec![interface],
        ips: vec![
            address(prefix(Ipv4Addr::LOCALHOST.into(), 8)),
            address(prefix(Ipv6Addr::LOCALHOST.into(), 128)),
        ],
        ..Success::default()
    }
    .render(outline.version)
}
