//! First and last act: two pods get a network, talk over it, and give it back.

use std::fs;
use std::net::IpAddr;

use anyhow::Context;
use serde_json::{Value, json};

use super::Stage;
use crate::exec::{Call, Outcome};
use crate::namespace::Namespace;
use crate::ping::ping;

/// A pod of the demo.
struct Pod {
    name: &'static str,
    sandbox: Namespace,
}

/// Both pods on their network, and what the node had before.
pub(super) struct Pods {
    pods: [Pod; 2],
    links_before: Vec<String>,
}

/// The pods get their network and talk over it.
pub(super) fn begin(stage: &Stage<'_>) -> anyhow::Result<Pods> {
    stage.node.run(forward)?;
    let links_before = stage.node.run(links)?;
    let [web, db] = ["web", "db"].map(|name| Pod { name, sandbox: Namespace::sandbox() });
    let addresses = [attach(stage, &web)?, attach(stage, &db)?];
    for (from, to, targets) in [(&web, &db, &addresses[1]), (&db, &web, &addresses[0])] {
        stage.table.step(&format!("ping {} -> {}", from.name, to.name), || echo(from, targets))?;
    }
    Ok(Pods { pods: [web, db], links_before })
}

/// They give it back, and the node is as it was.
pub(super) fn end(stage: &Stage<'_>, pods: &Pods) -> anyhow::Result<()> {
    for pod in &pods.pods {
        stage.table.step(&format!("DEL {}", pod.name), || {
            expect_success(call(stage, "DEL", pod).run(&stage.node))?;
            Ok(((), "link, routes, leases and record are gone".to_owned()))
        })?;
    }
    let (before, after) = (&pods.links_before, stage.node.run(links)?);
    anyhow::ensure!(*before == after, "the node had {before:?}, now it has {after:?}");
    let left = stage.node.run(state_files)?;
    anyhow::ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What the node agent would do before the first pod.
fn forward() -> anyhow::Result<()> {
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{key}"), "1").with_context(|| key.to_owned())?;
    }
    Ok(())
}

fn attach(stage: &Stage<'_>, pod: &Pod) -> anyhow::Result<Vec<IpAddr>> {
    stage.table.step(&format!("ADD {}", pod.name), || {
        let result =
            expect_success(call(stage, "ADD", pod).run(&stage.node))?.context("ADD printed nothing")?;
        let addresses = addresses(&result)?;
        let listed: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let host_end = result["interfaces"][0]["name"].as_str().unwrap_or_default();
        Ok((addresses, format!("eth0 has {}; {host_end} on the node", listed.join(" and "))))
    })
}

fn call(stage: &Stage<'_>, verb: &str, pod: &Pod) -> Call {
    let conf = json!({
        "cniVersion": "1.1.0", "name": "demo", "type": "tripod-cni",
        "ipam": {"ranges": [[{"subnet": "10.84.0.0/24"}], [{"subnet": "fd84::/64"}]]},
    });
    Call::of(&stage.program("tripod-cni"), verb, &conf).container(pod.name).netns(&pod.sandbox.path())
}

fn expect_success(outcome: Outcome) -> anyhow::Result<Option<Value>> {
    anyhow::ensure!(outcome.success, "tripod-cni answered {}", outcome.document.unwrap_or_default());
    Ok(outcome.document)
}

fn addresses(result: &Value) -> anyhow::Result<Vec<IpAddr>> {
    let ips = result["ips"].as_array().context("a result without addresses")?;
    ips.iter()
        .map(|ip| {
            let text = ip["address"].as_str().unwrap_or_default();
            text.split('/').next().unwrap_or_default().parse().with_context(|| format!("address {text:?}"))
        })
        .collect()
}

fn echo(from: &Pod, targets: &[IpAddr]) -> anyhow::Result<((), String)> {
    let mut answers = Vec::new();
    for target in targets.iter().copied() {
        let time =
            from.sandbox.run(move || ping(target)).with_context(|| format!("{target} does not answer"))?;
        answers.push(format!("{target} in {:.3} ms", time.as_secs_f64() * 1000.0));
    }
    Ok(((), answers.join(", ")))
}

/// Names of the interfaces of the calling thread's network, in the kernel's order.
fn links() -> anyhow::Result<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    Ok(table.lines().filter_map(name).collect())
}

/// Records and leases of attachments.
fn state_files() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in ["/run/tripod/attachments", "/run/tripod/ipam/demo"] {
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    // The store's own: its lock, where it goes on, what is taken, and what rests before it is given again.
    names.retain(|name| name != "lock" && !name.starts_with("last_reserved_ip") && !name.starts_with('.'));
    Ok(names)
}
