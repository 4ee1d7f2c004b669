//! `tripod-cni` on the real kernel, in throwaway namespaces, judged by `ip -j` and `nft -j`.

mod attach;
mod bandwidth;
mod beside;
mod bridge;
mod chained;
mod collect;
mod cost;
mod crash;
mod encoder;
mod failures;
mod fuzz;
mod guard;
mod ipam;
mod masquerade;
mod model;
mod people;
mod ports;
mod protocol;
mod quirks;
mod reliability;
mod sysctl;
mod together;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

/// A configuration with these subnets, one range set each.
pub(crate) fn conf(version: &str, subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    json!({
        "cniVersion": version, "name": "pods", "type": "tripod-cni", "mode": "routed",
        "ipam": {"type": "tripod", "ranges": ranges},
    })
}

/// Both families.
pub(crate) fn dual(version: &str) -> Value {
    conf(version, &["10.1.0.0/24", "fd00:1::/64"])
}

/// Attaches `sandbox` as `container`.
pub(crate) fn attach(node: &Namespace, sandbox: &Namespace, container: &str) -> Value {
    Call::new("ADD", &dual("1.1.0")).container(container).netns(&sandbox.path()).run(node).ok()
}

/// Everything that ADD may leave on a node, in an order that does not depend on chance. The table is
/// left out: it is the node's, not the attachment's; so are the lease store's lock, cursors and hints.
pub(crate) fn footprint(node: &Namespace) -> Value {
    json!({
        "links": node.json("ip -j link"),
        "routes": node.json("ip -j -4 route show table all"),
        "routes6": without_link_local(node.json("ip -j -6 route show table all")),
        "neighbours": node.json("ip -j neigh show nud permanent"),
        "files": node.sh("find /run/tripod -type f ! -name lock ! -name 'last_reserved_ip*' ! -name '.taken*' ! -name '.cooling*' 2>/dev/null | sort; true"),
    })
}

/// The kernel makes these for every link, a while after it.
fn without_link_local(mut routes: Value) -> Value {
    let list = routes.as_array_mut().expect("routes");
    list.retain(|route| {
        !route["dst"].as_str().is_some_and(|dst| dst.starts_with("fe80:") || dst == "ff00::/8")
    });
    routes
}
