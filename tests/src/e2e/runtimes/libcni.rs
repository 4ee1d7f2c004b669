//! libcni by its own tool, on a conflist as the agent writes it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Programs;
use crate::cluster::progress::step;
use crate::e2e::site::{BIN, CONF, Site, conflist};
use crate::namespace::Namespace;

/// Where libcni keeps what it was answered.
const MEMORY: &str = "/var/lib/cni/results";

pub(super) fn every_verb(programs: &Programs) -> anyhow::Result<()> {
    for (versions, agreed) in [(&["1.0.0"][..], "1.0.0"), (&["1.0.0", "1.1.0"], "1.1.0")] {
        let site = Site::new()?;
        site.install_program();
        site.write_conflist(&conflist("pods", versions));
        let cnitool = Cnitool { site: &site, programs, agreed };
        step(&format!("{agreed}: status asks the plugin from 1.1.0 on"), || cnitool.status())?;
        let before = site.footprint();
        step(&format!("{agreed}: add, add again, check"), || cnitool.add_and_check())?;
        anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
        step(&format!("{agreed}: gc with libcni's memory and without"), || cnitool.gc())?;
        anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
        step(&format!("{agreed}: del without the sandbox"), || cnitool.del_late())?;
        anyhow::ensure!(site.footprint() == before, "left: {}", site.footprint());
    }
    Ok(())
}

/// `cnitool` on one site.
struct Cnitool<'a> {
    site: &'a Site,
    programs: &'a Programs,
    /// The version it must settle on.
    agreed: &'static str,
}

impl Cnitool<'_> {
    /// Returns what it printed.
    fn run(&self, verb: &str, sandbox: &Path) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.built("cnitool"));
        command.args([verb, "pods"]).arg(sandbox);
        command.env_clear().env("CNI_PATH", BIN).env("NETCONFPATH", CONF);
        let output = self.site.node().run(move || command.output())?;
        let said = String::from_utf8(output.stdout)?;
        let complained = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "cnitool {verb}: {complained}{said}");
        Ok(said)
    }

    fn status(&self) -> anyhow::Result<()> {
        let anywhere = Path::new("/proc/self/ns/net");
        let asked = self.run("status", anywhere);
        if self.agreed == "1.1.0" {
            let refusal = asked.expect_err("the agent has not made this node ready").to_string();
            anyhow::ensure!(refusal.contains("/run/tripod/ready"), "{refusal}");
        }
        self.site.node().sh("mkdir -p /run/tripod && touch /run/tripod/ready");
        self.run("status", anywhere).map(drop)
    }

    fn add_and_check(&self) -> anyhow::Result<()> {
        let sandbox = Namespace::sandbox();
        let added: Value = serde_json::from_str(&self.run("add", &sandbox.path())?)?;
        anyhow::ensure!(added["cniVersion"] == self.agreed, "the result is {added}");
        anyhow::ensure!(self.remembered()? == added, "libcni remembers {} of {added}", self.remembered()?);
        sandbox.sh("ping -c1 -W2 192.0.2.9; ping -c1 -W2 2001:db8::9");
        self.run("check", &sandbox.path())?;
        let refusal = self.run("add", &sandbox.path()).expect_err("a second ADD").to_string();
        anyhow::ensure!(refusal.contains("eth0"), "{refusal}");
        self.run("check", &sandbox.path())?;
        sandbox.sh("ip route del default");
        let refusal = self.run("check", &sandbox.path()).expect_err("a lost route").to_string();
        anyhow::ensure!(refusal.contains("0.0.0.0/0"), "{refusal}");
        for _ in 0..2 {
            self.run("del", &sandbox.path())?;
        }
        anyhow::ensure!(self.memory().is_empty(), "libcni still has {}", self.memory());
        Ok(())
    }

    /// The tool names no valid attachments: libcni deletes what it remembers itself, and the plugin, which
    /// is told nothing, must take nothing away.
    fn gc(&self) -> anyhow::Result<()> {
        let sandbox = Namespace::sandbox();
        self.run("add", &sandbox.path())?;
        let attached = self.site.footprint();
        self.site.node().sh(&format!("mv {MEMORY} {MEMORY}.away; mkdir {MEMORY}"));
        self.run("gc", &sandbox.path())?;
        self.site.node().sh(&format!("rmdir {MEMORY}; mv {MEMORY}.away {MEMORY}"));
        anyhow::ensure!(self.site.footprint() == attached, "GC without a list took something away");
        self.run("check", &sandbox.path())?;
        self.run("gc", &sandbox.path()).map(drop)
    }

    fn del_late(&self) -> anyhow::Result<()> {
        let sandbox = Namespace::sandbox();
        let path = sandbox.path();
        self.run("add", &path)?;
        drop(sandbox);
        self.run("del", &path).map(drop)
    }

    fn memory(&self) -> String {
        self.site.node().sh(&format!("ls {MEMORY}"))
    }

    /// The one result that libcni keeps.
    fn remembered(&self) -> anyhow::Result<Value> {
        let mut kept: Value = serde_json::from_str(&self.site.node().sh(&format!("cat {MEMORY}/*")))?;
        anyhow::ensure!(kept["kind"] == "cniCacheV1" && kept["networkName"] == "pods", "libcni keeps {kept}");
        Ok(kept["result"].take())
    }
}
