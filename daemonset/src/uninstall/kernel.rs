//! The kernel's part, by our marks: rules and routes of protocol 84, our devices, two tables.

use std::fmt;
use std::io;

use tripod_cni::nft::{Nft, base, bridge, passage};

use super::attachments::Remaining;
use super::outcome::Object;
use crate::kernel::{Kernel, KernelError};
use crate::mesh::{Family, WIREGUARD};

const RULES: &str = "routing rules of protocol 84";
const ROUTES: &str = "routes of protocol 84";
const INET: &str = "nftables table inet tripod";
const BRIDGE: &str = "nftables table bridge tripod";
const PASSAGES: &str = "our rules in forward chains of others";

/// Removes all of it once no pod needs it: a pod's network is also the way to the pods of other nodes.
pub(super) async fn remove(kernel: &Kernel, remaining: &Remaining) -> Vec<Object> {
    let [overlay4, overlay6] = Family::ALL.map(Family::overlay);
    if let Some(reason) = remaining.reason() {
        let objects = [RULES, ROUTES, overlay4, overlay6, WIREGUARD, INET, BRIDGE, PASSAGES];
        return objects.map(|object| Object::waiting(object, reason.clone())).into();
    }
    let mut objects = vec![all(RULES, rules(kernel).await), all(ROUTES, routes(kernel).await)];
    objects.extend(overlays(kernel).await);
    objects.push(table(INET, base::remove));
    objects.push(table(BRIDGE, bridge::remove));
    objects.push(table(PASSAGES, passage::remove));
    objects
}

fn all(object: impl fmt::Display, removed: Result<usize, KernelError>) -> Object {
    Object::removed(object, removed.map(drop))
}

async fn rules(kernel: &Kernel) -> Result<usize, KernelError> {
    let rules = kernel.rules().await?;
    for prefix in &rules {
        kernel.delete_rule(*prefix).await?;
    }
    Ok(rules.len())
}

async fn routes(kernel: &Kernel) -> Result<usize, KernelError> {
    let routes = kernel.routes().await?;
    for route in &routes {
        kernel.delete_route(route).await?;
    }
    Ok(routes.len())
}

/// A link of another kind with such a name is somebody else's.
async fn overlays(kernel: &Kernel) -> Vec<Object> {
    let links = match kernel.links().await {
        Ok(links) => links,
        Err(error) => return vec![Object::failed("overlay and WireGuard devices", &error)],
    };
    let mut objects = Vec::new();
    for name in Family::ALL.map(Family::overlay) {
        objects.push(match links.iter().find(|link| link.name == name) {
            None => Object::done(name),
            Some(link) if link.vxlan.is_some() => Object::removed(name, kernel.delete_link(link).await),
            Some(_) => Object::kept(name, "it is no VXLAN device, and so not ours"),
        });
    }
    objects.push(match links.iter().find(|link| link.name == WIREGUARD) {
        None => Object::done(WIREGUARD),
        Some(link) if link.is_wireguard => Object::removed(WIREGUARD, kernel.delete_link(link).await),
        Some(_) => Object::kept(WIREGUARD, "it is no WireGuard device, and so not ours"),
    });
    objects
}

fn table(object: &str, remove: fn(&Nft) -> io::Result<()>) -> Object {
    Object::removed(object, Nft::open().and_then(|nft| remove(&nft)))
}
