//! A registry that gives images only to those who know its password, on the test network.

use std::path::Path;
use std::time::Duration;

use super::addresses::{REGISTRY, REGISTRY_NAME, REGISTRY_PORT};
use super::eventually::eventually_while;
use super::machine::{Machine, command_line};
use super::node::Node;

/// The one who may pull and push.
pub const USER: &str = "puller";
/// What they have to know.
pub const PASSWORD: &str = "open-sesame-tripod";
/// The password as `htpasswd -B` keeps it: the registry accepts bcrypt only.
const HTPASSWD: &str = "puller:$2b$05$tripodtestsregistry.u.JonPItUB5uwhkjP.1k5mBClIypC2V/S\n";

/// Starts the registry on `machine`, unless a case before has. `folder` takes its images.
pub fn start(machine: &Machine, folder: &Path) -> anyhow::Result<()> {
    if listens(machine).is_ok() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("htpasswd"), HTPASSWD)?;
    std::fs::write(folder.join("config.yml"), render_config(folder))?;
    let config = folder.join("config.yml");
    let mut registry = command_line(&["docker-registry", "serve", &config.to_string_lossy()]);
    machine.start("registry", registry.env("OTEL_TRACES_EXPORTER", "none"))?;
    let alive = || machine.alive();
    eventually_while("the registry listens", Duration::from_secs(30), alive, || listens(machine))
}

fn listens(machine: &Machine) -> anyhow::Result<()> {
    let listening = machine.exec(&["ss", "-Hltn", &format!("sport = :{REGISTRY_PORT}")])?;
    anyhow::ensure!(!listening.is_empty(), "nothing listens on port {REGISTRY_PORT}");
    Ok(())
}

/// The name of `image`, as in `team/tool:1`, in the registry.
pub fn reference(image: &str) -> String {
    format!("{REGISTRY_NAME}:{REGISTRY_PORT}/{image}")
}

/// Sends the image `reference` to the registry out of the docker archive `archive`. The node's runtime
/// carries it there in a namespace of its own, and keeps nothing that the kubelet could find.
pub fn push(node: &Node, archive: &Path, reference: &str) -> anyhow::Result<()> {
    let ctr = |words: &[&str]| node.exec(&[&["ctr", "--namespace", "push"], words].concat());
    ctr(&["images", "import", "--no-unpack", &archive.to_string_lossy()])?;
    let user = format!("{USER}:{PASSWORD}");
    let pushed = ctr(&["images", "push", "--plain-http", "--user", &user, reference]);
    ctr(&["images", "rm", "--sync", reference])?;
    pushed.map(drop)
}

fn render_config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "version: 0.1\n\
         log: {{accesslog: {{disabled: false}}, level: info}}\n\
         storage: {{filesystem: {{rootdirectory: \"{folder}/images\"}}}}\n\
         http: {{addr: \"{}:{REGISTRY_PORT}\", secret: \"of this run\"}}\n\
         auth: {{htpasswd: {{realm: tripod, path: \"{folder}/htpasswd\"}}}}\n",
        REGISTRY.v4
    )
}
