//! Kernel parameters of the node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::desired::Sysctl;
use crate::mesh::{Family, WIREGUARD};

/// A parameter that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {path:?} to {value}")]
pub struct SysctlError {
    path: PathBuf,
    value: &'static str,
    #[source]
    source: io::Error,
}

const FORWARDING6: &str = "ipv6/conf/all/forwarding";

/// Sets what differs below `root`, the node's `/proc/sys/net`. `proc_net` is its `/proc/net`.
pub fn apply(root: &Path, proc_net: &Path, sysctls: &[Sysctl]) -> Result<(), SysctlError> {
    if sysctls.iter().any(|sysctl| sysctl.key == FORWARDING6) && !is_forwarding6(root) {
        keep_advertised_routes(root, proc_net)?;
    }
    sysctls.iter().try_for_each(|sysctl| set(root, sysctl.key, sysctl.value))
}

/// A host that becomes a router forgets the default routes that routers advertised to it, and hears no
/// more advertisements, unless `accept_ra` is 2. Only the links that have such a route are told: on any
/// other an advertisement is somebody's attempt to become our router.
fn keep_advertised_routes(root: &Path, proc_net: &Path) -> Result<(), SysctlError> {
    // A kernel without IPv6 has no such table.
    let routes = fs::read_to_string(proc_net.join("ipv6_route")).unwrap_or_default();
    for link in advertised_uplinks(&routes) {
        let key = format!("ipv6/conf/{link}/accept_ra");
        if fs::read_to_string(root.join(&key)).is_ok_and(|value| value.trim_end() == "1") {
            set(root, &key, "2")?;
        }
    }
    Ok(())
}

/// Whoever can send packets to an overlay's port can put any packet into it. None of them may change how
/// this node routes.
pub fn close_overlays(root: &Path) -> Result<(), SysctlError> {
    for device in Family::ALL.map(Family::overlay).into_iter().chain([WIREGUARD]) {
        for parameter in ["accept_ra", "accept_redirects"] {
            set(root, &format!("ipv6/conf/{device}/{parameter}"), "0")?;
        }
    }
    Ok(())
}

/// Makes room in the kernel's tables for so many neighbours, where it has less: past `gc_thresh3` none is
/// added, and a node that cannot be asked for is not reached. Only the machine's own network has these
/// parameters.
pub fn make_room(root: &Path, neighbours: usize) {
    for (name, wanted) in thresholds(neighbours) {
        for family in ["ipv4", "ipv6"] {
            let key = format!("{family}/neigh/default/{name}");
            let found = fs::read_to_string(root.join(&key))
                .ok()
                .and_then(|text| text.trim_end().parse::<usize>().ok());
            if found.is_none_or(|found| found >= wanted) {
                continue;
            }
            match tripod_cni::sysctl::set(root, &key, &wanted.to_string()) {
                Ok(()) => tracing::info!(key, wanted, "made room for neighbours"),
                Err(error) => tracing::debug!(key, wanted, %error, "no room for more neighbours"),
            }
        }
    }
}

/// The kernel's own, and each neighbour once, twice and four times more: the first is what it always keeps.
fn thresholds(neighbours: usize) -> [(&'static str, usize); 3] {
    [
        ("gc_thresh1", 128 + neighbours),
        ("gc_thresh2", 512 + 2 * neighbours),
        ("gc_thresh3", 1024 + 4 * neighbours),
    ]
}

fn is_forwarding6(root: &Path) -> bool {
    fs::read_to_string(root.join(FORWARDING6)).is_ok_and(|value| value.trim_end() == "1")
}

fn set(root: &Path, key: &str, value: &'static str) -> Result<(), SysctlError> {
    let refused = |source| SysctlError { path: root.join(key), value, source };
    tripod_cni::sysctl::set(root, key, value).map_err(refused)
}

/// Links with a default route from a router advertisement, out of the text of `/proc/net/ipv6_route`:
/// destination, its length, source, its length, next hop, metric, two counters, flags, link.
fn advertised_uplinks(routes: &str) -> Vec<&str> {
    /// `RTF_ADDRCONF | RTF_DEFAULT` of `linux/ipv6_route.h`: learned from an advertisement.
    const ADVERTISED: u32 = 0x0004_0000 | 0x0001_0000;
    let advertised = |line| {
        let fields = str::split_whitespace(line).collect::<Vec<_>>();
        let [destination, length, .., flags, link] = fields.as_slice() else { return None };
        let is_default = *length == "00" && destination.bytes().all(|digit| digit == b'0');
        let flags = u32::from_str_radix(flags, 16).unwrap_or(0);
        (is_default && flags & ADVERTISED == ADVERTISED).then_some(*link)
    };
    let mut links: Vec<_> = routes.lines().filter_map(advertised).collect();
    links.dedup();
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "00000000000000000000000000000000";
    const ROUTER: &str = "fe800000000000000000000000000001";

    fn table() -> String {
        format!(
            "fd000030000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth1\n\
             {ZERO} 00 {ZERO} 00 {ROUTER} 00000400 00000001 00000000 00450003     eth0\n\
             {ZERO} 00 {ZERO} 00 {ROUTER} 00000400 00000001 00000000 00000003     eth1\n\
             {ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"
        )
    }

    #[test]
    fn thresholds_are_raised_and_never_lowered() {
        let node = tempfile::tempdir().unwrap();
        let folder = node.path().join("ipv4/neigh/default");
        fs::create_dir_all(&folder).unwrap();
        for (name, value) in [("gc_thresh1", "128\n"), ("gc_thresh2", "80000\n"), ("gc_thresh3", "1024\n")] {
            fs::write(folder.join(name), value).unwrap();
        }
        make_room(node.path(), 1000);
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(["gc_thresh1", "gc_thresh2", "gc_thresh3"].map(read), ["1128", "80000\n", "5024"]);
        assert!(!node.path().join("ipv6").exists(), "what a network does not have is not made");
    }

    #[test]
    fn only_advertised_default_routes_make_an_uplink() {
        assert_eq!(advertised_uplinks(&table()), ["eth0"]);
        assert!(advertised_uplinks("").is_empty());
        assert!(advertised_uplinks("nonsense\n0 1").is_empty());
    }

    #[test]
    fn the_uplink_goes_on_hearing_its_router() {
        let node = tempfile::tempdir().unwrap();
        let (root, proc_net) = (node.path().join("sys"), node.path().join("net"));
        let values = [("all/forwarding", "0"), ("eth0/accept_ra", "1"), ("eth1/accept_ra", "1")];
        for (key, value) in values {
            let path = root.join("ipv6/conf").join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        fs::create_dir_all(&proc_net).unwrap();
        fs::write(proc_net.join("ipv6_route"), table()).unwrap();
        apply(&root, &proc_net, &[Sysctl { key: FORWARDING6, value: "1" }]).unwrap();
        let read = |key: &str| fs::read_to_string(root.join("ipv6/conf").join(key)).unwrap();
        assert_eq!([read("eth0/accept_ra"), read("eth1/accept_ra"), read("all/forwarding")], ["2", "1", "1"]);
    }
}
