//! What the node itself is like, whatever the network.

use std::fs;
use std::path::Path;

use crate::finding::Finding;
use crate::nft::{Nft, base, foreign};
use crate::sysctl;

/// Forwarding by family; without it a pod reaches its node alone.
const FORWARDING: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

pub(super) fn findings() -> Vec<Finding> {
    let mut findings: Vec<Finding> = FORWARDING.iter().filter_map(|key| forwarding(key)).collect();
    findings.extend(tables());
    findings
}

/// Nothing for a family that the kernel was built or started without.
fn forwarding(key: &str) -> Option<Finding> {
    const CHECK: &str = "forwarding";
    let value = fs::read_to_string(Path::new(sysctl::ROOT).join(key)).ok()?;
    let name = format!("net.{}", key.replace('/', "."));
    if value.trim() != "0" {
        return Some(Finding::ok(CHECK, name, "on"));
    }
    let fix = format!("sysctl -w {name}=1; the tripod agent sets it");
    Some(Finding::warn(CHECK, name, "off: pods reach this node and nothing else").fix(fix))
}

fn tables() -> Vec<Finding> {
    const CHECK: &str = "nftables";
    let look = |nft: &Nft| Ok((base::is_whole(nft, None)?, foreign::forward_drops(nft)?));
    match Nft::open().and_then(|nft| look(&nft)) {
        Err(error) => {
            let text = format!("cannot be read: {error}");
            vec![Finding::warn(CHECK, "table inet tripod", text).fix("run as root, on the node itself")]
        }
        Ok((whole, drops)) => {
            let text = if whole { "the guard chain is whole" } else { "the next ADD makes the guard chain" };
            let mut findings = vec![Finding::ok(CHECK, "table inet tripod", text)];
            findings.extend(drops.iter().map(dropped));
            findings
        }
    }
}

fn dropped(drop: &foreign::ForwardChain) -> Finding {
    if !drop.passages.is_empty() {
        return Finding::ok("forward", drop, "the tripod agent's rules in it let this node's pods pass");
    }
    let fix = "accept the pod CIDRs there, before that; no rule in another table can undo a drop";
    Finding::warn("forward", drop, "packets to and from pods may be lost here").fix(fix)
}
