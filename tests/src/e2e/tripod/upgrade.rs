//! A roll-out of another version, and back, on a cluster that is at work.

mod churn;
mod connection;
mod installed;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use self::connection::Connection;
use self::installed::{PLUGIN, PROVIDER, Seen};
use super::{footprint, install};
use crate::cluster::eventually::eventually;
use crate::cluster::images::{self, Image};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::sandbox::SandboxNetwork;
use crate::cluster::{Cluster, Kubectl};
use crate::programs;

const VERSIONS: [&str; 2] = ["tripod:dev", "tripod:next"];
/// One whose plugin is nonsense.
const BROKEN: &str = "tripod:broken";
const SET_IMAGE: [&str; 4] = ["set", "image", "--namespace=tripod-system", "daemonset/tripod"];

pub(super) fn nobody_notices_a_roll_out(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let (pods_left, ready_since) = (footprint::of_pods(cluster)?, ready_since(cluster, &kubectl)?);
    let images = step("load another version into every node", || load_versions(cluster))?;
    let [a, b] = cluster.nodes() else { anyhow::bail!("two nodes are needed") };
    let steady = [a, b].map(|node| Pod::on(node.name(), &format!("steady-{}", node.name())));
    step("a pod runs on each of two nodes", || kubectl.run_pods(&steady))?;
    let connections = step("connections lead to one from the other, and from a node", || {
        connect(&kubectl, (a, &steady[0]), (b, &steady[1]))
    })?;
    let logs = churn::Logs::begin(cluster)?;
    let seen = under_load(cluster, &kubectl, &images)?;
    step("no connection was reset or stood still", || {
        connections.into_iter().try_for_each(|connection| connection.end().map(|told| println!("  {told}")))
    })?;
    step("both versions were there in turn, whole at each moment", || seen.iter().try_for_each(Seen::judge))?;
    step("no pod failed to begin or to end", || {
        logs.judge(cluster)?;
        churn::events_are_harmless(&kubectl)
    })?;
    step("no node was NotReady", || {
        let now = self::ready_since(cluster, &kubectl)?;
        anyhow::ensure!(now == ready_since, "Ready since {ready_since:?}, now since {now:?}");
        Ok(())
    })?;
    step("the pods are deleted", || steady.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &pods_left))
}

/// Both versions; every node has the first one already.
fn load_versions(cluster: &Cluster) -> anyhow::Result<[Image; 2]> {
    let root = programs::target_dir().join("image/bin");
    let [old, new] = VERSIONS;
    let images = [images::release(&root, old, "")?, images::release(&root, new, "the next version")?];
    let broken = images::release(&root, BROKEN, "")?.with_program("tripod-cni", b"\x7fELF, and nothing else");
    for (file, image) in [("tripod-next", &images[1]), ("tripod-broken", &broken)] {
        cluster.import(&cluster.write_image(file, image)?)?;
    }
    Ok(images)
}

/// From `b`'s pod and from `b` itself to `a`'s pod, over every family.
fn connect(kubectl: &Kubectl<'_>, a: (&Node, &Pod), b: (&Node, &Pod)) -> anyhow::Result<Vec<Connection>> {
    let server = SandboxNetwork::open(a.0, &a.1.name)?;
    let client = SandboxNetwork::open(b.0, &b.1.name)?;
    let mut connections = Vec::new();
    for address in kubectl.pod_addresses(&a.1.name)? {
        let listener = server.within(|| connection::listen(&address))?;
        let place = listener.local_addr()?;
        let streams = [
            ("a pod", client.within(|| connection::open(place))?),
            ("a node", b.0.machine().within_network(|| connection::open(place))?),
        ];
        for (from, stream) in streams {
            let what = format!("from {from} of {} to {}, a pod of {}", b.0.name(), place.ip(), a.0.name());
            connections.push(Connection::start(what, stream, &listener)?);
        }
    }
    Ok(connections)
}

/// Rolls out and back while pods come and go and the nodes' files are looked at.
fn under_load(cluster: &Cluster, kubectl: &Kubectl<'_>, images: &[Image; 2]) -> anyhow::Result<Vec<Seen>> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, nodes) = (&stop, cluster.nodes());
        let churns: Vec<_> = nodes
            .iter()
            .map(|node| {
                let file = cluster.folder().join(format!("churn-{}.yaml", node.name()));
                scope.spawn(move || churn::run(kubectl, node, &file, stop))
            })
            .collect();
        let watches: Vec<_> = nodes.iter().map(|node| watch(scope, node, images, stop)).collect();
        let rolled = there_and_back(cluster, kubectl, images);
        stop.store(true, Ordering::SeqCst);
        let made = churns.into_iter().map(|churn| churn.join().expect("no panic")).collect::<Vec<_>>();
        let seen = watches.into_iter().map(|watch| watch.join().expect("no panic")).collect::<Vec<_>>();
        rolled?;
        let made = made.into_iter().sum::<anyhow::Result<usize>>()?;
        println!("  {made} pods were made and deleted meanwhile");
        seen.into_iter().collect()
    })
}

/// Whatever comes of it, the version that was there is there again, for the cases that follow.
fn there_and_back(cluster: &Cluster, kubectl: &Kubectl<'_>, images: &[Image; 2]) -> anyhow::Result<()> {
    let refused = roll_out(cluster, kubectl, images, 1)
        .and_then(|()| step("a version that cannot run is refused", || refuse(cluster, kubectl, images)));
    roll_out(cluster, kubectl, images, 0)?;
    refused
}

fn watch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    node: &'scope Node,
    images: &'scope [Image; 2],
    stop: &'scope AtomicBool,
) -> std::thread::ScopedJoinHandle<'scope, anyhow::Result<Seen>> {
    let versions = images.each_ref().map(|image| image.program("tripod-cni").unwrap_or_default());
    scope.spawn(move || installed::watch(node, versions, stop))
}

fn roll_out(cluster: &Cluster, kubectl: &Kubectl<'_>, images: &[Image; 2], to: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    step(&format!("{} is rolled out", VERSIONS[to]), || {
        kubectl.run(&[&SET_IMAGE[..], &[&format!("*={}", VERSIONS[to])]].concat())?;
        let wait = ["rollout", "status", "--namespace=tripod-system", "daemonset/tripod", "--timeout=180s"];
        kubectl.run(&wait).map(drop)
    })?;
    println!("  from the new image to all Ready: {:.1} s", begin.elapsed().as_secs_f32());
    step("every node has its programs", || nodes_have(cluster, &images[to]))
}

fn nodes_have(cluster: &Cluster, image: &Image) -> anyhow::Result<()> {
    cluster.nodes().iter().try_for_each(|node| {
        installed::is(node, PLUGIN, image.program("tripod-cni"))?;
        installed::is(node, PROVIDER, image.program("tripod-credential-provider"))
    })
}

/// The roll-out stops at its first node, which goes on with what it has.
fn refuse(cluster: &Cluster, kubectl: &Kubectl<'_>, images: &[Image; 2]) -> anyhow::Result<()> {
    kubectl.run(&[&SET_IMAGE[..], &[&format!("*={BROKEN}")]].concat())?;
    let expected =
        ["/opt/cni/bin/tripod-cni", "stays as it was", "it is damaged or made for another processor"];
    eventually("a container \"install\" fails and says why", Duration::from_secs(60), || {
        let pods = kubectl.get(&["pods", "--namespace=tripod-system"])?;
        let failed = pods["items"].as_array().into_iter().flatten().find(|pod| has_failed(pod));
        let name = failed.and_then(|pod| pod["metadata"]["name"].as_str()).context("none has failed")?;
        // One that was just started again has said nothing yet.
        let said = kubectl.run(&["logs", "--namespace=tripod-system", name, "--container=install"])?;
        anyhow::ensure!(expected.iter().all(|words| said.contains(words)), "it said {said}");
        Ok(())
    })?;
    // Its other programs run, and are there.
    let plugin = images[1].program("tripod-cni");
    cluster.nodes().iter().try_for_each(|node| installed::is(node, PLUGIN, plugin))
}

fn has_failed(pod: &Value) -> bool {
    let install = &pod["status"]["initContainerStatuses"][0];
    ["state", "lastState"].iter().any(|state| install[state]["terminated"]["exitCode"] == 1)
}

/// Since when each Node has been Ready.
fn ready_since(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<Vec<Value>> {
    let of = |node: &Node| {
        let about = kubectl.get(&["node", node.name()])?;
        let conditions = about["status"]["conditions"].as_array().into_iter().flatten();
        let ready =
            conditions.into_iter().find(|one| one["type"] == "Ready").context("no condition Ready")?;
        Ok(Value::from(vec![ready["status"].clone(), ready["lastTransitionTime"].clone()]))
    };
    cluster.nodes().iter().map(of).collect()
}
