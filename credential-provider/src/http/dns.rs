//! Names to addresses: `/etc/hosts`, then the name servers of `/etc/resolv.conf`, as the C library does it by
//! default. What it reads from `nsswitch.conf` beyond that (mDNS, LDAP) is not for the names of cloud services.

mod error;
mod hosts;
mod lookup;
mod message;
mod server;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as Resolve};
use ureq::unversioned::transport::NextTimeout;

use crate::step::{Deadline, Problem};

pub use error::DnsError;

use super::tcp;

/// Most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Names that are known here.
    pub hosts: PathBuf,
    /// Who knows the others.
    pub resolv_conf: PathBuf,
    /// The port at which name servers listen.
    pub port: u16,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }
}

impl Resolver {
    /// The addresses of `host`, at least one, those of IPv4 first.
    pub fn addresses(&self, host: &str, deadline: Deadline) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]);
        }
        // A missing file is one that says nothing.
        let mut found = hosts::find(&std::fs::read(&self.hosts).unwrap_or_default(), name);
        if found.is_empty() {
            let settings = settings::Settings::parse(&std::fs::read(&self.resolv_conf).unwrap_or_default());
            found = lookup::lookup(&settings, self.port, host, deadline)?;
        }
        found.sort_by_key(IpAddr::is_ipv6);
        Ok(found)
    }
}

impl Resolve for Resolver {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let found = self
            .addresses(bare, Deadline::from_now(*timeout.after))
            .map_err(|error| ureq::Error::Other(Problem::Resolve(error).into()))?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(MOST_ADDRESSES) {
            addresses.push(SocketAddr::new(address, tcp::port(uri)));
        }
        Ok(addresses)
    }
}
