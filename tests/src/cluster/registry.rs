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

/// Whom a registry asks about those who come with a token.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// The token service's address.
    pub realm: &'a str,
    /// The registry's name there.
    pub service: &'a str,
    /// The token service's name.
    pub issuer: &'a str,
    /// Its certificate, as PEM.
    pub certificate: &'a str,
}

/// Starts the registry on `machine`, unless a case before has. `folder` takes its images.
pub fn start(machine: &Machine, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let htpasswd = folder.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD)?;
    let auth = format!("{{htpasswd: {{realm: tripod, path: \"{}\"}}}}", htpasswd.display());
    serve(machine, "registry", folder, REGISTRY_PORT, &auth)
}

/// Starts another one on `port` with the same images, which takes tokens and no password.
pub fn start_with_tokens(
    machine: &Machine,
    folder: &Path,
    port: u16,
    tokens: Tokens<'_>,
) -> anyhow::Result<()> {
    let Tokens { realm, service, issuer, certificate } = tokens;
    let bundle = folder.join("tokens.pem");
    std::fs::write(&bundle, certificate)?;
    let auth = format!(
        "{{token: {{realm: \"{realm}\", service: \"{service}\", issuer: \"{issuer}\", rootcertbundle: \"{}\"}}}}",
        bundle.display()
    );
    serve(machine, "token-registry", folder, port, &auth)
}

fn serve(machine: &Machine, name: &str, folder: &Path, port: u16, auth: &str) -> anyhow::Result<()> {
    if listens(machine, port).is_ok() {
        return Ok(());
    }
    let config = folder.join(format!("{name}.yml"));
    std::fs::write(&config, render_config(folder, port, auth))?;
    let mut registry = command_line(&["docker-registry", "serve", &config.to_string_lossy()]);
    machine.start(name, registry.env("OTEL_TRACES_EXPORTER", "none"))?;
    let alive = || machine.alive();
    eventually_while("the registry listens", Duration::from_secs(30), alive, || listens(machine, port))
}

fn listens(machine: &Machine, port: u16) -> anyhow::Result<()> {
    let listening = machine.exec(&["ss", "-Hltn", &format!("sport = :{port}")])?;
    anyhow::ensure!(!listening.is_empty(), "nothing listens on port {port}");
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

fn render_config(folder: &Path, port: u16, auth: &str) -> String {
    let folder = folder.display();
    format!(
        "version: 0.1\n\
         log: {{accesslog: {{disabled: false}}, level: info}}\n\
         storage: {{filesystem: {{rootdirectory: \"{folder}/images\"}}}}\n\
         http: {{addr: \"{}:{port}\", secret: \"of this run\"}}\n\
         auth: {auth}\n",
        REGISTRY.v4
    )
}
