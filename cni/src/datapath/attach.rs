//! Making the datapath: the steps that change the node, in the order the kernel needs.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::{HOST_MAC, Wiring};
use crate::error::{self, Error};
use crate::journal::{Journal, Undo};
use crate::netns::Netns;
use crate::nft::base::LINK_GROUP;
use crate::patience::pause;
use crate::rtnl::{Link, RouteSpec, Rtnl, VethSpec};
use crate::spec::Route;
use crate::sysctl;

impl Wiring {
    /// Makes both ends and everything on them.
    pub(crate) fn attach(
        &self,
        host: &Rtnl,
        sandbox: &Rtnl,
        netns: &Netns,
        journal: &mut Journal,
    ) -> Result<(), Error> {
        self.create_veth(host, sandbox, netns, journal)?;
        let named = host.set_alias(&self.host_ifname, &self.alias);
        let host_end = host.link(&self.host_ifname).map_err(self.kernel("look up interface"))?;
        named.map_err(self.kernel("set the alias of"))?;
        let host_end = host_end.ok_or_else(|| self.vanished(&self.host_ifname))?;
        let pod_index = host_end.peer.ok_or_else(|| self.vanished(&self.ifname))?;
        self.configure_pod_end(sandbox, pod_index, netns)?;
        self.configure_host_end(host, &host_end)?;
        await_ipv6(sandbox, &self.addresses)?;
        self.await_carrier(host)
    }

    /// The host end came up before the pod's, so the kernel drops what it sends until the link watcher
    /// has seen the carrier, which may be after ADD. Since Linux 6.8 asking for a link runs the watcher.
    fn await_carrier(&self, host: &Rtnl) -> Result<(), Error> {
        host.link(&self.host_ifname).map_err(self.kernel("look up interface")).map(drop)
    }

    fn create_veth(
        &self,
        host: &Rtnl,
        sandbox: &Rtnl,
        netns: &Netns,
        journal: &mut Journal,
    ) -> Result<(), Error> {
        let veth = VethSpec {
            host: &self.host_ifname,
            host_mac: HOST_MAC,
            group: LINK_GROUP,
            pod: &self.ifname,
            pod_mac: self.pod_mac,
            netns: Some(netns.raw_fd()),
            mtu: self.mtu,
            master: None,
        };
        create_veth(&veth, host, sandbox, journal)
    }

    fn configure_pod_end(&self, sandbox: &Rtnl, index: u32, netns: &Netns) -> Result<(), Error> {
        if self.has_ipv6() {
            // Some runtimes start a sandbox with IPv6 switched off.
            netns
                .visit(|| Ok(set_ipv6(&self.ifname, "disable_ipv6", "0")))?
                .map_err(self.kernel("enter"))??;
        }
        // In this order: an IPv6 route needs its device up.
        all("add address", &self.ifname, &self.addresses, |ip| {
            sandbox.add_address(index, IpNetwork::from(**ip))
        })?;
        sandbox.set_up(index, true).map_err(self.kernel("set up"))?;
        all("add neighbour", &self.ifname, self.next_hops(), |hop| {
            sandbox.add_neighbour(index, *hop, HOST_MAC)
        })?;
        add_routes(sandbox, &self.ifname, index, &self.routes)
    }

    fn configure_host_end(&self, host: &Rtnl, link: &Link) -> Result<(), Error> {
        overwrite_ipv6(&link.name, "accept_ra", "0")?;
        if self.has_ipv6() {
            set_ipv6(&link.name, "disable_ipv6", "0")?;
        }
        all("add neighbour", &link.name, &self.addresses, |ip| {
            host.add_neighbour(link.index, **ip, self.pod_mac)
        })?;
        all("add route", &link.name, self.host_routes(link.index), |route| host.add_route(route))
    }

    fn kernel(&self, act: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |refused| {
            Error::kernel(act, format!("{:?} (host end {:?})", self.ifname, self.host_ifname))(refused)
        }
    }

    fn vanished(&self, ifname: &str) -> Error {
        Error::kernel("look up interface", ifname)(io::Error::from_raw_os_error(Errno::ENODEV as i32))
    }
}

/// The kernel takes packets for an IPv6 address only when a worker of its own has come round to it, even
/// without duplicate address detection; until then the first ones that are sent to it are lost.
pub(super) fn await_ipv6(place: &Rtnl, addresses: &[IpAddr]) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_micros(200);
    for address in addresses.iter().filter(|address| address.is_ipv6()) {
        let look = || Error::kernel("look up the route to", address);
        while !place.is_local(*address).map_err(look())? {
            pause(PAUSE).map_err(look())?;
        }
    }
    Ok(())
}

/// Creates both ends, and notes how to undo that.
pub(super) fn create_veth(
    veth: &VethSpec<'_>,
    host: &Rtnl,
    sandbox: &Rtnl,
    journal: &mut Journal,
) -> Result<(), Error> {
    journal.push(Undo::DeleteLink);
    let Err(source) = host.create_veth(veth) else { return Ok(()) };
    // Nothing was made; whatever has that name is not ours to delete.
    journal.pop();
    if error::is(&source, Errno::EEXIST) {
        return Err(name_taken(veth, sandbox));
    }
    if error::is(&source, Errno::EOPNOTSUPP) {
        return Err(Error::KernelFeature { feature: "virtual Ethernet pairs (CONFIG_VETH)", source });
    }
    let ends = format!("{:?} (host end {:?})", veth.pod, veth.host);
    Err(Error::kernel("create interface", ends)(source))
}

fn name_taken(veth: &VethSpec<'_>, sandbox: &Rtnl) -> Error {
    let in_pod = matches!(sandbox.link(veth.pod), Ok(Some(_)));
    let (ifname, place) = if in_pod { (veth.pod, "in the sandbox") } else { (veth.host, "on the node") };
    Error::InterfaceExists { ifname: ifname.to_owned(), place }
}

/// Gives the pod its routes. One that is there is another interface's: this one is new.
pub(super) fn add_routes(sandbox: &Rtnl, ifname: &str, device: u32, routes: &[Route]) -> Result<(), Error> {
    for route in routes {
        let spec = in_pod(route, device);
        sandbox.add_route(&spec).map_err(|source| match source {
            source if error::is(&source, Errno::EEXIST) => {
                Error::RouteExists { destination: route.dst, ifname: ifname.to_owned(), source }
            }
            source => Error::kernel("add route", format!("{spec} dev {ifname}"))(source),
        })?;
    }
    Ok(())
}

fn in_pod(route: &Route, device: u32) -> RouteSpec {
    RouteSpec { destination: route.dst, gateway: route.gw, device, source: None, options: route.options }
}

/// Asks for each of `objects`; the first refusal names its object.
pub(super) fn all<T: Display>(
    act: &'static str,
    device: &str,
    objects: impl IntoIterator<Item = T>,
    ask: impl Fn(&T) -> io::Result<()>,
) -> Result<(), Error> {
    for object in objects {
        ask(&object).map_err(|refused| Error::kernel(act, format!("{object} dev {device}"))(refused))?;
    }
    Ok(())
}

/// As [`set_ipv6`], without looking at what a link that was just made has.
fn overwrite_ipv6(ifname: &str, key: &str, value: &str) -> Result<(), Error> {
    let path = Path::new(sysctl::ROOT).join(format!("ipv6/conf/{ifname}/{key}"));
    match sysctl::write(&path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => {
            written.map_err(Error::kernel("set sysctl", format!("net.ipv6.conf.{ifname}.{key}={value}")))
        }
    }
}

pub(super) fn set_ipv6(ifname: &str, key: &str, value: &str) -> Result<(), Error> {
    sysctl::set(Path::new(sysctl::ROOT), &format!("ipv6/conf/{ifname}/{key}"), value).map_err(|refused| {
        Error::kernel("set sysctl", format!("net.ipv6.conf.{ifname}.{key}={value}"))(refused)
    })
}
