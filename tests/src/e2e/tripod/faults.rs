//! What goes wrong on three nodes, while every pod keeps asking every other: traffic heals within seconds,
//! and the kernel holds afterwards what it held before, no more and no less.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::echo_pods::EchoPod;
use super::prober::Prober;
use super::{agents, install, mesh_dump};
use crate::chance::Chance;
use crate::cluster::eventually::eventually;
use crate::cluster::interrupt;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// For a machine of two processors, on which the whole cluster runs.
const HEAL_LIMIT: Duration = Duration::from_secs(15);
/// A reboot starts containerd, the kubelet and all pods anew.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const OUTAGE: Duration = Duration::from_secs(120);
const KILLS: usize = 50;

/// Something that goes wrong, and what it is called. It must be noticed by the time `act` returns.
struct Fault {
    about: &'static str,
    act: fn(&Cluster) -> anyhow::Result<()>,
}

/// Those after which everything is as before.
const PASSING: [Fault; 12] = [
    Fault {
        about: "the overlay devices are deleted",
        act: |cluster| all(cluster, "ip link del tripod6; ip link del tripod4"),
    },
    Fault {
        about: "the overlay device's hardware address is changed",
        act: |cluster| {
            all(
                cluster,
                "ip link set tripod4 address 02:00:00:00:00:99; ip link set tripod6 address 02:00:00:00:00:99",
            )
        },
    },
    Fault {
        about: "all routes of ours are deleted, and their rules",
        act: |cluster| all(cluster, FLUSH_ROUTES),
    },
    Fault {
        about: "neighbours and forwarding entries are deleted",
        act: |cluster| all(cluster, FLUSH_ENTRIES),
    },
    Fault { about: "the ruleset is flushed", act: |cluster| all(cluster, "nft flush ruleset") },
    Fault { about: "uplinks have other hardware addresses", act: |cluster| change_mac(cluster, "02", "06") },
    Fault { about: "and again their old ones", act: |cluster| change_mac(cluster, "06", "02") },
    Fault { about: "uplinks have a smaller MTU, and again the old one", act: change_mtu },
    Fault { about: "the node behind the router is cut off, and back", act: |cluster| cut_off(cluster, 2) },
    Fault { about: "a node on the link is cut off, and back", act: |cluster| cut_off(cluster, 1) },
    Fault { about: "what the nodes told one another is deleted", act: forget_claims },
    Fault { about: "two agents at once look after one node", act: overlap },
];

/// What an admin's `ip route flush` and a careless script do.
const FLUSH_ROUTES: &str = "ip route flush table all proto 84; ip -6 route flush table all proto 84; \
    ip rule flush proto 84; ip -6 rule flush proto 84; true";
const FLUSH_ENTRIES: &str = "set -e; ip neigh flush nud permanent; \
    for it in tripod4 tripod6; do bridge fdb show dev $it | while read mac rest; do \
    bridge fdb del $mac dev $it ${rest%permanent*}; done; done";

pub(in crate::e2e) fn traffic_heals(ground: &RefCell<Cluster>) -> anyhow::Result<()> {
    let pods = set_up(&ground.borrow())?;
    let before = step("the kernel's state is written down", || mesh_dump::of(&ground.borrow()))?;
    {
        let cluster = &*ground.borrow();
        let entered = EchoPod::enter(cluster, &pods)?;
        let prober = Prober::start(&entered)?;
        prober.heals(Instant::now(), HEAL_LIMIT)?;
        for fault in PASSING {
            happens(cluster, &prober, &before, fault.about, fault.act)?;
        }
        happens(cluster, &prober, &before, "agents are killed 50 times, whatever they do", kill_agents)?;
        api_outage(cluster, &prober, &before)?;
        println!("  {} questions were lost in all of this", prober.lost());
    }
    for at in [2, 0] {
        reboot(ground, &pods, at)?;
    }
    let cluster = &*ground.borrow();
    move_pod_cidrs(cluster, &pods)?;
    let kubectl = cluster.kubectl()?;
    step("the pods are deleted", || pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("nothing of them is left", || mesh_dump::has_no_pods(cluster, HEAL_LIMIT))
}

fn set_up(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    install::install(cluster)?;
    let pods: Vec<Pod> =
        cluster.nodes().iter().map(|node| Pod::on(node.name(), &format!("on-{}", node.name()))).collect();
    step("a pod runs on each of three nodes", || cluster.kubectl()?.run_pods(&pods))?;
    step("kubelets start again at once what was killed", || agents::restart_quickly(cluster))?;
    Ok(pods)
}

/// Lets it happen, and waits until all is as before.
fn happens(
    cluster: &Cluster,
    prober: &Prober,
    before: &mesh_dump::Dump,
    about: &str,
    act: impl FnOnce(&Cluster) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    step(about, || {
        act(cluster)?;
        let since = Instant::now();
        let healed = prober.heals(since, HEAL_LIMIT)?;
        before.is_again(cluster, HEAL_LIMIT)?;
        let all = since.elapsed().as_secs_f32();
        println!(
            "    traffic healed after {:.1} s; the kernel is as before after {all:.1} s",
            healed.as_secs_f32()
        );
        Ok(())
    })
}

fn all(cluster: &Cluster, script: &str) -> anyhow::Result<()> {
    cluster.nodes().iter().try_for_each(|node| node.exec(&["sh", "-c", script]).map(drop))
}

/// As a card that is replaced: hosts tell their neighbours. Only the first byte of the address changes.
fn change_mac(cluster: &Cluster, from: &str, to: &str) -> anyhow::Result<()> {
    let script = format!(
        "set -e; sysctl -qw net.ipv4.conf.eth0.arp_notify=1 net.ipv6.conf.eth0.ndisc_notify=1; \
         old=$(cat /sys/class/net/eth0/address); ip link set eth0 address {to}${{old#{from}}}; \
         grep -q ^{to}: /sys/class/net/eth0/address"
    );
    all(cluster, &script)
}

fn change_mtu(cluster: &Cluster) -> anyhow::Result<()> {
    for (mtu, overlays) in [(1400, [1350, 1330]), (1500, [1450, 1430])] {
        all(cluster, &format!("ip link set eth0 mtu {mtu}"))?;
        let wanted = format!(
            "grep -qx {} /sys/class/net/tripod4/mtu && grep -qx {} /sys/class/net/tripod6/mtu",
            overlays[0], overlays[1]
        );
        eventually("overlays follow", HEAL_LIMIT, || all(cluster, &wanted))?;
    }
    Ok(())
}

fn cut_off(cluster: &Cluster, at: usize) -> anyhow::Result<()> {
    let port = cluster.nodes()[at].name();
    cluster.underlay().ip(&["link", "set", port, "down"])?;
    pause(Duration::from_secs(10))?;
    cluster.underlay().ip(&["link", "set", port, "up"]).map(drop)
}

/// Their agents say it anew.
fn forget_claims(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl()?.run(&["delete", "tripodnodes", "--all"]).map(drop)
}

/// As in a roll-out that starts the new one before the old one has ended.
fn overlap(cluster: &Cluster) -> anyhow::Result<()> {
    let node = &cluster.nodes()[0];
    agents::start_second(node)?;
    pause(Duration::from_secs(5))?;
    node.exec(&["sh", "-c", FLUSH_ROUTES])?;
    pause(Duration::from_secs(10))?;
    node.machine().alive()?;
    agents::stop_second(node)
}

fn kill_agents(cluster: &Cluster) -> anyhow::Result<()> {
    let mut chance = Chance::new(Chance::seed());
    for _ in 0..KILLS {
        let nodes = cluster.nodes();
        agents::kill(&nodes[chance.below(nodes.len())])?;
        pause(Duration::from_millis(u64::try_from(chance.below(1500))?))?;
    }
    // A Tripod that is not ready is not there to heal what comes next.
    install::rolled_out(&cluster.kubectl()?)
}

fn api_outage(cluster: &Cluster, prober: &Prober, before: &mesh_dump::Dump) -> anyhow::Result<()> {
    let begin = Instant::now();
    step("the API server ends", || cluster.stop_api_server())?;
    happens(cluster, prober, before, "without it, agents are killed", |cluster| {
        cluster.nodes().iter().try_for_each(agents::kill)
    })?;
    happens(cluster, prober, before, "without it, all routes of ours are deleted", |cluster| {
        all(cluster, FLUSH_ROUTES)
    })?;
    happens(cluster, prober, before, "without it, the ruleset is flushed", |cluster| {
        all(cluster, "nft flush ruleset")
    })?;
    happens(cluster, prober, before, "it is away for minutes", |_| {
        pause(OUTAGE.saturating_sub(begin.elapsed()))
    })?;
    happens(cluster, prober, before, "it is back", |cluster| {
        cluster.start_api_server()?;
        let kubectl = cluster.kubectl()?;
        cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_condition(node.name(), "Ready", "True"))
    })
}

fn reboot(ground: &RefCell<Cluster>, pods: &[Pod], at: usize) -> anyhow::Result<()> {
    let name = ground.borrow().nodes()[at].name().to_owned();
    let before = mesh_dump::of(&ground.borrow())?;
    let restarts = |cluster: &Cluster| restarts(&cluster.kubectl()?, &pods[at]);
    let then = restarts(&ground.borrow())?;
    let begin = Instant::now();
    step(&format!("{name} is rebooted"), || ground.borrow_mut().reboot(at))?;
    let cluster = &*ground.borrow();
    step("its pod runs again", || {
        eventually("the pod runs again", BOOT_LIMIT, || {
            anyhow::ensure!(restarts(cluster)? > then, "it was not started yet");
            Ok(())
        })
    })?;
    step("all pods reach one another", || {
        let entered = EchoPod::enter(cluster, pods)?;
        Prober::start(&entered)?.heals(Instant::now(), HEAL_LIMIT)?;
        println!("    {:.1} s after the power cut", begin.elapsed().as_secs_f32());
        before.is_again(cluster, HEAL_LIMIT)
    })
}

/// How often its container was started again.
fn restarts(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<u64> {
    let status = kubectl.pod(&pod.name)?["status"]["containerStatuses"][0].take();
    anyhow::ensure!(status["ready"] == true, "{} is not ready: {status}", pod.name);
    status["restartCount"].as_u64().context("a number of restarts")
}

/// The only way there is: the Node object is made anew. First on the link, then behind the router.
fn move_pod_cidrs(cluster: &Cluster, pods: &[Pod]) -> anyhow::Result<()> {
    for (node, pod) in cluster.nodes().iter().zip(pods).skip(1) {
        let about = format!("{} gets other pod CIDRs", node.name());
        step(&about, || move_pod_cidr(cluster, node, pod))?;
        step("all pods reach one another", || {
            let entered = EchoPod::enter(cluster, pods)?;
            Prober::start(&entered)?.heals(Instant::now(), HEAL_LIMIT).map(drop)
        })?;
    }
    Ok(())
}

fn move_pod_cidr(cluster: &Cluster, node: &Node, pod: &Pod) -> anyhow::Result<()> {
    let (kubectl, before) = (cluster.kubectl()?, mesh_dump::of(cluster)?);
    let old = kubectl.pod_ranges(node.name())?;
    kubectl.delete_pod(&pod.name)?;
    kubectl.run(&["delete", "node", node.name()])?;
    node.restart_kubelet(&[])?;
    let new = kubectl.pod_ranges(node.name())?;
    anyhow::ensure!(new.iter().all(|range| !old.contains(range)), "{old:?} became {new:?}");
    println!("    {old:?} became {new:?}");
    kubectl.wait_for_condition(node.name(), "Ready", "True")?;
    eventually("no node leads anything to the old ones", HEAL_LIMIT, || {
        mesh_dump::of(cluster)?.has_moved(&before, &old)
    })?;
    kubectl.run_pods(std::slice::from_ref(pod))
}

fn pause(length: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < length {
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(100).min(length));
    }
    Ok(())
}
