//! CRI-O's own CNI layer, told what to do as CRI-O tells it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::Programs;
use crate::cluster::eventually::eventually;
use crate::cluster::progress::step;
use crate::cluster::queues::bucket_rates;
use crate::e2e::site::{BIN, CONF, Site, conflist};
use crate::namespace::Namespace;

const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

pub(super) fn pods_come_and_go(programs: &Programs) -> anyhow::Result<()> {
    let site = Site::new()?;
    let mut crio = Crio::start(programs, &site)?;
    step("it is ready once conflist, program and agent are there", || comes_ready(&site, &mut crio))?;
    let before = site.footprint();
    step("a pod is attached, checked and deleted", || attach_and_delete(&site, &mut crio))?;
    anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
    step("a pod is deleted after its network was renamed", || rename(&site, &mut crio))?;
    anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
    step("GC keeps what is wanted, and nothing when nothing is", || collect(&site, &mut crio))?;
    anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
    Ok(())
}

/// CRI-O skips a conflist whose program does not answer VERSION, and looks again when one comes.
fn comes_ready(site: &Site, crio: &mut Crio) -> anyhow::Result<()> {
    let mut is_refused = |why: &str| {
        eventually(why, Duration::from_secs(10), || {
            let refusal = crio.status().expect_err("not ready yet").to_string();
            anyhow::ensure!(refusal.contains(why), "{refusal}");
            Ok(())
        })
    };
    is_refused("no CNI configuration")?;
    site.write_conflist(&conflist("pods", &VERSIONS));
    is_refused("no CNI configuration")?;
    site.install_program();
    is_refused("/run/tripod/ready")?;
    site.node().sh("mkdir -p /run/tripod && touch /run/tripod/ready");
    crio.status()
}

fn attach_and_delete(site: &Site, crio: &mut Crio) -> anyhow::Result<()> {
    let sandbox = Namespace::sandbox();
    let pod = pod("one", &sandbox);
    let added = crio.ask("setup", &pod)?;
    anyhow::ensure!(added[0]["ips"].as_array().is_some_and(|ips| ips.len() == 2), "{added}");
    anyhow::ensure!(crio.ask("look", &pod)? == added, "CRI-O sees another result");
    sandbox.sh("ping -c1 -W2 127.0.0.1; ping -c1 -W2 192.0.2.9; ping -c1 -W2 2001:db8::9");
    let mut rates = bucket_rates(&site.node().sh("tc -j qdisc show"))?;
    rates.sort_unstable();
    anyhow::ensure!(rates == [500_000, 1_000_000], "the node has queues of {rates:?} bytes/s");
    site.node().sh("ip route del 10.1.0.2");
    let refusal = crio.ask("look", &pod).expect_err("a pod that has lost its route").to_string();
    anyhow::ensure!(refusal.contains("10.1.0.2"), "{refusal}");
    for _ in 0..2 {
        crio.ask("teardown", &pod)?;
    }
    Ok(())
}

/// CRI-O deletes by the configuration that it remembers from ADD, or by the present one.
fn rename(site: &Site, crio: &mut Crio) -> anyhow::Result<()> {
    for memory in ["kept", "lost"] {
        let sandbox = Namespace::sandbox();
        crio.ask("setup", &pod("old", &sandbox))?;
        site.write_conflist(&conflist("renamed", &VERSIONS));
        crio.knows("renamed")?;
        if memory == "lost" {
            site.node().sh("rm /var/lib/cni/results/*");
        }
        // What is gone from the machine has no path either.
        drop(sandbox);
        crio.ask("teardown", &json!({"name": "old", "namespace": "default", "id": "old", "netns": ""}))?;
        site.write_conflist(&conflist("pods", &VERSIONS));
        crio.knows("pods")?;
    }
    Ok(())
}

/// Once with libcni's memory of the pods, by DEL, and once without, by the plugin's own GC.
fn collect(site: &Site, crio: &mut Crio) -> anyhow::Result<()> {
    for memory in ["kept", "lost"] {
        let sandboxes = [Namespace::sandbox(), Namespace::sandbox()];
        let [wanted, stale] = [pod("wanted", &sandboxes[0]), pod("stale", &sandboxes[1])];
        crio.ask("setup", &wanted)?;
        let one = site.footprint();
        crio.ask("setup", &stale)?;
        if memory == "lost" {
            site.node().sh("rm /var/lib/cni/results/pods-stale-eth0");
        }
        crio.collect(&[&wanted])?;
        anyhow::ensure!(site.footprint() == one, "memory {memory}: {}\nnot {one}", site.footprint());
        crio.ask("look", &wanted)?;
        if memory == "lost" {
            site.node().sh("rm /var/lib/cni/results/*");
        }
        // Without any pod CRI-O sends null for the list.
        crio.collect(&[])?;
    }
    Ok(())
}

/// A pod as CRI-O describes it: with its cgroup, its limits and its annotations, but without host ports, which it
/// serves itself.
fn pod(name: &str, sandbox: &Namespace) -> Value {
    json!({
        "name": name, "namespace": "default", "id": name, "uid": format!("{name}-uid"), "netns": sandbox.path(),
        "runtimeConfig": {"pods": {
            "CgroupPath": "/kubepods.slice/pod1.slice",
            "Bandwidth": {
                "IngressRate": 8_000_000, "IngressBurst": 800_000, "EgressRate": 4_000_000, "EgressBurst": 400_000,
            },
            "io.kubernetes.cri.pod-annotations": {"example.com/note": "a \"quoted\" word"},
        }},
    })
}

/// The running layer.
struct Crio {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Crio {
    fn start(programs: &Programs, site: &Site) -> anyhow::Result<Self> {
        let mut command = Command::new(programs.built("ocicni"));
        command.args([CONF, BIN]);
        // What it has to say comes back with each answer; the rest is a log that it keeps.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = site.node().run(move || command.spawn())?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("stdout is piped")?);
        Ok(Self { process, orders, answers })
    }

    fn status(&mut self) -> anyhow::Result<()> {
        self.order(&json!({"do": "status"})).map(drop)
    }

    /// Waits until the default network is the one called `name`.
    fn knows(&mut self, name: &str) -> anyhow::Result<()> {
        eventually(&format!("{name} is the default"), Duration::from_secs(10), || {
            let network = self.order(&json!({"do": "network"}))?;
            anyhow::ensure!(network == name, "it is {network}");
            Ok(())
        })
    }

    fn ask(&mut self, what: &str, pod: &Value) -> anyhow::Result<Value> {
        self.order(&json!({"do": what, "pod": pod}))
    }

    fn collect(&mut self, wanted: &[&Value]) -> anyhow::Result<()> {
        self.order(&json!({"do": "gc", "pods": wanted})).map(drop)
    }

    fn order(&mut self, order: &Value) -> anyhow::Result<Value> {
        let orders = self.orders.as_mut().context("the layer was stopped")?;
        writeln!(orders, "{order}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(anyhow::anyhow!("{order}: {error}")),
            None => Ok(answer["said"].take()),
        }
    }
}

impl Drop for Crio {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            eprintln!("ocicni: {error}");
        }
    }
}
