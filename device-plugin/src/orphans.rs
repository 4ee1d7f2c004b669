//! Devices that containers hold since before this process started, and that are not on offer. Of an
//! allocated device that is missing from its list the kubelet would report that it is healthy.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::device::{Device, Found, Health};
use crate::health::Standing;
use crate::inventory::{self, limits};
use crate::podresources::Usage;
use crate::stock::Stock;

/// Stands for the scan that did not see them any more: it was before the first.
const BEFORE_ANY: u64 = 0;
const REASON: &str =
    "a container holds it, and it is not on offer: it is gone, or no rule selects it any more";

/// Whether `device` is one that [`list`] added.
pub(crate) fn is_orphan(device: &Device) -> bool {
    device.vanished == Some(BEFORE_ANY)
}

/// Adds to `stocks`, as unhealthy, what containers hold of them by `usage` and none of them has.
pub(crate) fn list(stocks: &mut [Stock], usage: &Usage, now: Instant) {
    let lost: Vec<Vec<String>> = stocks.iter().map(|stock| lost(stock, stocks, usage)).collect();
    for (stock, ids) in stocks.iter_mut().zip(lost).filter(|(_, ids)| !ids.is_empty()) {
        let mut devices = stock.devices.clone();
        devices.extend(ids.into_iter().map(|id| orphan(id, stock, now)));
        let limit = limits::MAX_LIST_BYTES;
        stock.devices = inventory::fit(devices, &stock.devices, stock.rule.sharing, limit).devices;
    }
}

/// What moved to another rule is no orphan: it works, only under another name.
fn lost(stock: &Stock, all: &[Stock], usage: &Usage) -> Vec<String> {
    let held: BTreeSet<&str> = usage.devices(&stock.name).collect();
    let is_listed = |id: &&str| all.iter().any(|stock| stock.devices.iter().any(|device| device.id == **id));
    held.into_iter().filter(|id| !is_listed(id)).map(str::to_owned).collect()
}

fn orphan(id: String, stock: &Stock, now: Instant) -> Device {
    let health = Health::Unhealthy { reason: REASON.to_owned() };
    let found = Found { health, ..Found::new(stock.rule.selector.kind(), id.clone(), id.clone()) };
    Device { id, standing: Standing::first(&found, now), found, vanished: Some(BEFORE_ANY) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::inventory::tests::devices;
    use crate::podresources::usage_of;

    fn stocks(lists: &[&[&str]]) -> Vec<Stock> {
        let config = "version: v1\nresources:\n\
                      - {name: a/b, match: {paths: [/dev/x*]}, count: 2}\n- {name: a/c, match: {paths: [/dev/y*]}}";
        let rules = Config::parse(config).unwrap().rules;
        let stock = |(rule, paths): (_, &&[&str])| {
            let rule: std::sync::Arc<crate::config::Rule> = rule;
            let name = rule.naming.name(&crate::config::criteria::Properties::new()).unwrap();
            Stock { name, rule, devices: devices(paths), left_out: 0, withheld: None }
        };
        rules.into_iter().zip(lists).map(stock).collect()
    }

    fn orphans<'a>(stocks: &'a [Stock]) -> Vec<Vec<&'a str>> {
        let of = |stock: &'a Stock| stock.devices.iter().filter(|device| is_orphan(device));
        stocks.iter().map(|stock| of(stock).map(|device| device.id.as_str()).collect()).collect()
    }

    #[test]
    fn what_a_container_holds_and_nobody_lists_is_listed_unhealthy() {
        let mut stocks = stocks(&[&["/dev/x0"], &["/dev/y0"]]);
        let now = Instant::now();
        let held = [("a/b", "x0::1"), ("a/b", "x1::0"), ("a/b", "x1::1"), ("a/b", "y0"), ("a/c", "y7")];
        list(&mut stocks, &usage_of(now, &held), now);
        assert_eq!(orphans(&stocks), [vec!["x1"], vec!["y7"]]);
        let x1 = stocks[0].snapshot();
        assert_eq!(x1.find("x1::1").map(|listed| listed.healthy), Some(false));
        list(&mut stocks, &usage_of(now, &held), now);
        assert_eq!(orphans(&stocks), [vec!["x1"], vec!["y7"]]);
    }
}
