//! Key `ipam` of a configuration: host-local's keys, checked, or the plugin that has its own. No I/O.

use std::net::IpAddr;
use std::path::PathBuf;

use super::raw::{Object, RawRange, RawRoute};
use super::request::Request;
use super::{bounded, json};
use crate::error::Error;
use crate::ipam::range::{Range, RangeSet};
use crate::spec::{Route, Version, is_name};

/// Where addresses come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ipam {
    /// The lease store's folder.
    pub store: PathBuf,
    /// The plugin that is asked for addresses in place of the store.
    pub plugin: Option<String>,
    /// An attachment gets one address of each.
    pub sets: Vec<RangeSet>,
    /// The address asked for, for each set in turn; any where absent.
    pub wanted: Vec<Option<IpAddr>>,
    /// The pod's routes; absent means default routes of each family.
    pub routes: Option<Vec<Route>>,
    /// File of which the result's `dns` is made.
    pub resolv_conf: Option<PathBuf>,
}

/// The plugin that `ipam` names, when it is not the built-in store.
pub(super) fn plugin(ipam: &Object) -> Option<&str> {
    ipam.text("type").filter(|kind| *kind != "tripod" && is_name(kind))
}

impl Ipam {
    /// Checks the configuration `root`, whose leases are kept in `store`. What a plugin reads is left to it.
    pub(super) fn complete(root: &Object, runtime: &Object, store: PathBuf) -> Result<Self, Error> {
        let ipam = required(root)?;
        let kind = ipam.get::<String>("type")?.filter(|kind| kind != "tripod");
        let Some(kind) = kind else { return Self::pool(root, runtime, store) };
        let bad = |problem: &str| Err(Error::config("ipam.type", json(&kind), problem));
        if !is_name(&kind) {
            return bad("is no plugin's name: letters, digits, '.', '_' and '-'");
        }
        if kind == "tripod-cni" || root.text("type") == Some(kind.as_str()) {
            return bad("is no IPAM plugin: it would execute itself; use \"tripod\"");
        }
        Ok(Self { store, plugin: Some(kind), ..Self::default() })
    }

    /// Checks the keys of the store, whatever `ipam.type` is.
    pub(super) fn pool(root: &Object, runtime: &Object, store: PathBuf) -> Result<Self, Error> {
        let ipam = required(root)?;
        if let Some(folder) = ipam.path("dataDir")?.filter(|folder| !folder.is_absolute()) {
            return Err(Error::config("ipam.dataDir", json(&folder), "is not an absolute path"));
        }
        let routes = ipam.get::<Vec<RawRoute>>("routes")?;
        let routes = routes.map(|routes| complete_routes(&routes)).transpose()?;
        let resolv_conf = ipam.path("resolvConf")?;
        let sets = complete_sets(&ipam, runtime)?;
        Ok(Self { store, sets, routes, resolv_conf, ..Self::default() })
    }

    /// Assigns each address that `request` asks for to the set that gives it.
    pub(super) fn plan(&mut self, request: &Request) -> Result<(), Error> {
        if self.plugin.is_some() {
            return Ok(());
        }
        let bad = |address, problem: String| Error::config(&request.source, json(address), problem);
        self.wanted = vec![None; self.sets.len()];
        for address in &request.addresses {
            let fits = |(set, _): &(&RangeSet, _)| set.gives(*address);
            let Some((set, wanted)) = self.sets.iter().zip(&mut self.wanted).find(fits) else {
                let all: Vec<String> = self.sets.iter().map(ToString::to_string).collect();
                let problem = format!("is in no range ({}) or its gateway", all.join("; "));
                return Err(bad(address, problem));
            };
            match wanted.replace(*address) {
                None => {}
                Some(earlier) if earlier == *address => {
                    return Err(bad(address, "is asked for twice".to_owned()));
                }
                Some(earlier) => {
                    let problem = format!("is a second address, beside {earlier}, of range set {set}");
                    return Err(bad(address, problem));
                }
            }
        }
        Ok(())
    }

    /// A result before 0.3.0 has one place for each family.
    pub(super) fn fits(&self, version: Version) -> Result<(), Error> {
        let of = |v4: bool| self.sets.iter().filter(|set| set.is_ipv4() == v4).count();
        if version >= Version::V0_3_0 || (of(true) <= 1 && of(false) <= 1) {
            return Ok(());
        }
        let problem = "has no room for two addresses of one family; use 0.3.0 or later";
        Err(Error::config("cniVersion", json(version), problem))
    }
}

fn required(root: &Object) -> Result<Object, Error> {
    let needed = "give it \"ranges\", as in {\"ranges\": [[{\"subnet\": \"10.1.0.0/24\"}]]}";
    root.object("ipam")?.ok_or(Error::Missing { field: "ipam", needed })
}

/// First what the runtime asks for, then host-local's old form, one range in place of `ranges`, then the
/// network's.
fn complete_sets(ipam: &Object, runtime: &Object) -> Result<Vec<RangeSet>, Error> {
    let mut raw: Vec<(String, Vec<RawRange>)> = Vec::new();
    let mut list = |field: &str, sets: Vec<Vec<RawRange>>| {
        raw.extend(sets.into_iter().enumerate().map(|(n, set)| (format!("{field}[{n}]"), set)));
    };
    list("runtimeConfig.ipRanges", runtime.get("ipRanges")?.unwrap_or_default());
    let single = RawRange::within(ipam)?;
    list("ipam.subnet", single.is_given().then(|| vec![single]).into_iter().collect());
    list("ipam.ranges", ipam.get("ranges")?.unwrap_or_default());
    bounded("ipam.ranges", &raw)?;
    if raw.iter().all(|(_, set)| set.is_empty()) {
        let problem = "holds no range: give [[{\"subnet\": \"10.1.0.0/24\"}]]";
        return Err(Error::config("ipam.ranges", "[]", problem));
    }
    let mut complete: Vec<RangeSet> = Vec::new();
    for (field, raw) in &raw {
        let set = complete_set(field, raw)?;
        if complete.iter().any(|earlier| earlier.overlaps(&set)) {
            let problem = "overlaps an earlier set: a pod would get two addresses of one range";
            return Err(Error::config(field, json(raw), problem));
        }
        complete.push(set);
    }
    Ok(complete)
}

fn complete_set(field: &str, raw: &[RawRange]) -> Result<RangeSet, Error> {
    bounded(field, raw)?;
    let ranges: Vec<Range> = raw
        .iter()
        .enumerate()
        .map(|(index, range)| range.parse(&format!("{field}[{index}]")))
        .collect::<Result<_, _>>()?;
    RangeSet::new(ranges).map_err(|problem| Error::config(field, json(raw), problem))
}

fn complete_routes(raw: &[RawRoute]) -> Result<Vec<Route>, Error> {
    bounded("ipam.routes", raw)?;
    let mut routes: Vec<Route> = Vec::new();
    for (index, route) in raw.iter().enumerate() {
        let field = format!("ipam.routes[{index}]");
        let route = route.parse(&field)?;
        if routes.iter().any(|earlier| collide(earlier, &route)) {
            return Err(Error::config(format!("{field}.dst"), json(route.dst), "is there twice"));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// The kernel tells two routes apart by these.
fn collide(one: &Route, other: &Route) -> bool {
    let key = |route: &Route| (route.dst, route.options.table, route.options.priority);
    key(one) == key(other)
}
