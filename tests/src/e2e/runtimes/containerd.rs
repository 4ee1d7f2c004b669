//! containerd through CRI, without a kubelet that would ask again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Programs;
use crate::cluster::eventually::eventually;
use crate::cluster::progress::step;
use crate::cluster::runtime::RuntimeHost;
use crate::e2e::site::conflist;
use crate::programs;

/// What attachments may leave on the machine.
const LISTING: &str = "ip -br link | grep '^tp' | sort; ip route show proto 84; ip -6 route show proto 84; \
     ip neigh show nud permanent; nft list ruleset | grep -A9 elements; \
     find /run/tripod -type f ! -name lock ! -name 'last_reserved_ip*' ! -name ready | sort; true";

pub(super) fn sandboxes_come_and_go(programs: &Programs) -> anyhow::Result<()> {
    let host = step("start containerd", || RuntimeHost::start("runtimes", programs))?;
    let outcome = on(&host);
    outcome.map_err(|error| error.context(host.machine().describe()))
}

fn on(host: &RuntimeHost) -> anyhow::Result<()> {
    step("it has a network once the agent has made the node ready", || comes_ready(host))?;
    let before = footprint(host)?;
    step("a sandbox is made and deleted", || {
        let id = host.run_sandbox("plain", &json!({}))?;
        is_connected(host, &id)?;
        end(host, &id)
    })?;
    is_again(host, &before)?;
    step("a sandbox is deleted after its namespace is gone", || {
        let id = host.run_sandbox("bare", &json!({}))?;
        let netns = host.cri().netns(&id)?;
        host.machine().exec(&["umount", &netns])?;
        host.machine().exec(&["rm", &netns])?;
        end(host, &id)
    })?;
    is_again(host, &before)?;
    step("a sandbox is deleted after its network was renamed", || {
        let id = host.run_sandbox("moved", &json!({}))?;
        write_conflist(host, "renamed")?;
        eventually("containerd knows the new network", Duration::from_secs(10), || loaded(host, "renamed"))?;
        end(host, &id)
    })?;
    is_again(host, &before)
}

/// Conflist and programs, put where containerd looks for them.
fn comes_ready(host: &RuntimeHost) -> anyhow::Result<()> {
    anyhow::ensure!(!is_ready(host)?, "containerd has a network though nobody gave it one");
    let program = programs::program("tripod-cni");
    host.machine().within(|| {
        fs::create_dir_all("/opt/cni/bin")?;
        fs::copy(&program, "/opt/cni/bin/tripod-cni")?;
        Ok(std::os::unix::fs::symlink("tripod-cni", "/opt/cni/bin/loopback")?)
    })?;
    write_conflist(host, "pods")?;
    eventually("containerd has the conflist", Duration::from_secs(10), || loaded(host, "pods"))?;
    anyhow::ensure!(!is_ready(host)?, "STATUS is asked before the agent was there");
    host.machine().exec(&["sh", "-c", "mkdir -p /run/tripod; touch /run/tripod/ready"])?;
    eventually("STATUS is answered", Duration::from_secs(10), || {
        anyhow::ensure!(is_ready(host)?, "the network is not ready");
        Ok(())
    })
}

fn write_conflist(host: &RuntimeHost, name: &str) -> anyhow::Result<()> {
    let text = conflist(name, &["1.0.0", "1.1.0"]).to_string();
    host.machine().within(|| {
        let folder = Path::new("/etc/cni/net.d");
        fs::create_dir_all(folder)?;
        fs::write(folder.join("new"), text)?;
        Ok(fs::rename(folder.join("new"), folder.join("10-tripod.conflist"))?)
    })
}

fn loaded(host: &RuntimeHost, name: &str) -> anyhow::Result<()> {
    let info = host.cri().info()?;
    let networks = info.pointer("/cniconfig/Networks").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = networks.iter().any(|network| network["Config"]["Name"] == name);
    anyhow::ensure!(found, "containerd has {networks:?}");
    Ok(())
}

fn is_ready(host: &RuntimeHost) -> anyhow::Result<bool> {
    let info = host.cri().info()?;
    let conditions = info.pointer("/status/conditions").and_then(Value::as_array).cloned();
    let network = |condition: &Value| condition["type"] == "NetworkReady" && condition["status"] == true;
    Ok(conditions.unwrap_or_default().iter().any(network))
}

/// The runtime tells one address of each family, and the node reaches them.
fn is_connected(host: &RuntimeHost, id: &str) -> anyhow::Result<()> {
    let about = host.cri().inspect(id)?;
    let network = &about["status"]["network"];
    let addresses = [&network["ip"], &network["additionalIps"][0]["ip"]].map(|ip| ip.as_str());
    for address in addresses {
        let address = address.ok_or_else(|| anyhow::anyhow!("the sandbox has {network}"))?;
        host.machine().exec(&["ping", "-c1", "-W2", address])?;
    }
    Ok(())
}

/// As a kubelet does, which asks twice when in doubt.
fn end(host: &RuntimeHost, id: &str) -> anyhow::Result<()> {
    host.cri().stop_sandbox(id)?;
    host.cri().stop_sandbox(id)?;
    host.cri().remove_sandbox(id)
}

fn footprint(host: &RuntimeHost) -> anyhow::Result<String> {
    host.machine().exec(&["sh", "-c", LISTING])
}

fn is_again(host: &RuntimeHost, before: &str) -> anyhow::Result<()> {
    let now = footprint(host)?;
    anyhow::ensure!(now == before, "before:\n{before}\nnow:\n{now}");
    Ok(())
}
