//! Key `ipam` of a configuration: host-local's keys, checked. No I/O.

use std::path::PathBuf;

use super::raw::{Object, RawRange, RawRoute};
use super::{bounded, json};
use crate::error::Error;
use crate::ipam::range::{Range, RangeSet};
use crate::spec::Route;

/// The built-in address management, with host-local's keys.
#[derive(Clone, Debug)]
pub(crate) struct Ipam {
    /// The lease store's folder.
    pub store: PathBuf,
    /// An attachment gets one address of each.
    pub sets: Vec<RangeSet>,
    /// The pod's routes; absent means default routes of each family.
    pub routes: Option<Vec<Route>>,
}

impl Ipam {
    /// Checks the object under `ipam`, whose leases are kept in `store`.
    pub(super) fn complete(ipam: Option<Object>, store: PathBuf) -> Result<Self, Error> {
        let ipam = ipam.ok_or_else(|| Error::config("ipam", "null", "is missing: give it \"ranges\""))?;
        if let Some(other) = ipam.get::<String>("type")?.filter(|kind| kind != "tripod") {
            return Err(Error::config("ipam.type", json(&other), "is not available; use \"tripod\""));
        }
        if let Some(folder) = ipam.get::<PathBuf>("dataDir")?.filter(|folder| !folder.is_absolute()) {
            return Err(Error::config("ipam.dataDir", json(&folder), "is not an absolute path"));
        }
        let routes =
            ipam.get::<Vec<RawRoute>>("routes")?.map(|routes| complete_routes(&routes)).transpose()?;
        Ok(Self { store, sets: complete_sets(&ipam)?, routes })
    }
}

/// host-local's old form, one range in place of `ranges`, is a set of its own before the others.
fn complete_sets(ipam: &Object) -> Result<Vec<RangeSet>, Error> {
    let single = RawRange::within(ipam)?;
    let listed = ipam.get::<Vec<Vec<RawRange>>>("ranges")?.unwrap_or_default();
    let sets: Vec<Vec<RawRange>> =
        single.is_given().then(|| vec![single]).into_iter().chain(listed).collect();
    bounded("ipam.ranges", &sets)?;
    if sets.iter().all(Vec::is_empty) {
        let problem = "holds no range: give [[{\"subnet\": \"10.1.0.0/24\"}]]";
        return Err(Error::config("ipam.ranges", "[]", problem));
    }
    let mut complete: Vec<RangeSet> = Vec::new();
    for (index, raw) in sets.iter().enumerate() {
        let set = complete_set(index, raw)?;
        if complete.iter().any(|earlier| earlier.overlaps(&set)) {
            let problem = "overlaps an earlier set: a pod would get two addresses of one range";
            return Err(Error::config(format!("ipam.ranges[{index}]"), json(raw), problem));
        }
        complete.push(set);
    }
    Ok(complete)
}

fn complete_set(set: usize, raw: &[RawRange]) -> Result<RangeSet, Error> {
    bounded(&format!("ipam.ranges[{set}]"), raw)?;
    let ranges: Vec<Range> = raw
        .iter()
        .enumerate()
        .map(|(index, range)| range.parse(&format!("ipam.ranges[{set}][{index}]")))
        .collect::<Result<_, _>>()?;
    RangeSet::new(ranges).map_err(|problem| Error::config(format!("ipam.ranges[{set}]"), json(raw), problem))
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
