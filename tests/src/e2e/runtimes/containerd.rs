//! containerd through CRI, without a kubelet that would ask again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Programs;
use crate::cluster::eventually::eventually;
use crate::cluster::mirror::{Mirror, Protocol, ask};
use crate::cluster::progress::step;
use crate::cluster::queues::bucket_rates;
use crate::cluster::runtime::RuntimeHost;
use crate::cluster::sandbox::SandboxNetwork;
use crate::e2e::site::conflist;
use crate::programs;

/// What attachments may leave on the machine.
const LISTING: &str = "ip -br link | grep '^tp' | sort; ip route show proto 84; ip -6 route show proto 84; \
     ip neigh show nud permanent; nft list ruleset | grep -A9 elements; \
     find /run/tripod -type f ! -name lock ! -name 'last_reserved_ip*' ! -name '.*' ! -name ready | sort; \
     true";

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
    step("a sandbox has ports of the host, and gives them back", || with_ports(host))?;
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
    is_again(host, &before)?;
    step("a sandbox has the limits that its annotations name", || with_limits(host))?;
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

/// containerd gives them under names that begin with a capital letter.
fn with_ports(host: &RuntimeHost) -> anyhow::Result<()> {
    let port = |protocol: u8| json!({"protocol": protocol, "container_port": 5353, "host_port": 8053});
    let id = host.run_sandbox("served", &json!({"port_mappings": [port(0), port(1)]}))?;
    {
        let network = SandboxNetwork::of_sandbox(host.machine(), &id)?;
        let _mirror = Mirror::in_pod(&network, 5353)?;
        for place in ["192.0.2.9:8053", "127.0.0.1:8053", "[2001:db8::9]:8053"] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                host.machine().within_network(|| ask(place.parse()?, protocol))?;
            }
        }
    }
    end(host, &id)?;
    let answer = host.machine().within_network(|| ask("192.0.2.9:8053".parse()?, Protocol::Tcp));
    anyhow::ensure!(answer.is_err(), "the port still leads to {answer:?}");
    Ok(())
}

fn with_limits(host: &RuntimeHost) -> anyhow::Result<()> {
    let rates = || bucket_rates(&host.machine().exec(&["tc", "-j", "qdisc", "show"])?);
    let annotations =
        json!({"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "4M"});
    let id = host.run_sandbox("slow", &json!({"annotations": annotations}))?;
    let mut found = rates()?;
    found.sort_unstable();
    anyhow::ensure!(found == [500_000, 1_000_000], "the host has queues of {found:?} bytes/s");
    end(host, &id)?;
    anyhow::ensure!(rates()?.is_empty(), "queues are left: {:?}", rates()?);
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
