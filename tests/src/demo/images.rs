//! Third act: the credential provider answers as the kubelet would ask it, and a registry is convinced.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use super::Stage;
use crate::registry::{self, Registry};

const USER: &str = "demo";
const PASSWORD: &str = "correct horse battery staple";
const IMAGE: &str = "team/app";

pub(super) fn show(stage: &Stage<'_>) -> anyhow::Result<()> {
    let registry = stage.node.run(|| Registry::start(([127, 0, 0, 1], 0).into(), USER, PASSWORD))?;
    let server = registry.address();
    configure(stage, &server.to_string())?;
    let manifest = format!("/v2/{IMAGE}/manifests/latest");
    let path = manifest.clone();
    stage.table.step("pull without password", || {
        let status = stage.node.run(move || registry::get(server, &path, None))?;
        anyhow::ensure!(status == 401, "the registry answered {status} to nobody");
        Ok(((), format!("{server}/{IMAGE} answers 401")))
    })?;
    let (user, password) = stage.table.step("credential provider", || {
        let (user, password, kept) = ask(stage, &format!("{server}/{IMAGE}"))?;
        let what = format!("user {user:?} and a password for {server}, cacheDuration {kept}");
        Ok(((user, password), what))
    })?;
    stage.table.step("pull with password", || {
        let status = stage.node.run(move || registry::get(server, &manifest, Some((&user, &password))))?;
        anyhow::ensure!(status == 200, "the registry answered {status}");
        Ok(((), format!("{server}/{IMAGE} answers 200")))
    })
}

fn configure(stage: &Stage<'_>, server: &str) -> anyhow::Result<()> {
    let auths = json!({"auths": {server: {"username": USER, "password": PASSWORD}}});
    let file = stage.write("config.json", &auths.to_string())?;
    let config = json!({
        "version": "v1",
        "registries": [{"match": [server], "provider": "docker-config", "file": file}],
    });
    // JSON is YAML.
    stage.write("credential-provider.yaml", &config.to_string()).map(drop)
}

/// User, password and cache duration that the provider gives for `image`.
fn ask(stage: &Stage<'_>, image: &str) -> anyhow::Result<(String, String, String)> {
    let request = json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest", "image": image,
    });
    let mut provider = Command::new(stage.program("tripod-credential-provider"));
    provider.arg("--config").arg(stage.path("credential-provider.yaml"));
    provider.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = stage.node.run(move || -> anyhow::Result<_> {
        let mut child = provider.spawn()?;
        child.stdin.take().context("a pipe")?.write_all(request.to_string().as_bytes())?;
        Ok(child.wait_with_output()?)
    })?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let response: Value = serde_json::from_slice(&output.stdout)?;
    let auths = response["auth"].as_object().context("a response without credentials")?;
    let auth = auths.values().next().context("a response without credentials")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
    Ok((text(&auth["username"])?, text(&auth["password"])?, text(&response["cacheDuration"])?))
}
