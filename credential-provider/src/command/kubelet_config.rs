//! `kubelet-config`: the kubelet's side of the wiring.
//!
//! The kubelet reads its file and the flags only when it starts, and does not start with a mistake in
//! them, so they are printed for the admin and never edited.

mod permission;

use std::fmt::Write;
use std::path::{self, Path};

use crate::config::{Config, DEFAULT_PATH};
use crate::error::Error;
use crate::kubelet::entries::{self, Entry, NAME, Token};
use crate::kubelet::platform::Platform;
use crate::kubelet::version::Version;
use crate::wire::ApiVersion;

/// A `CredentialProviderConfig` as YAML, with what to do with it as comments. `path` is our configuration.
pub fn kubelet_config(
    path: &Path,
    bin_dir: &Path,
    version: Version,
    platform: &Platform,
) -> Result<String, Error> {
    let config = Config::load(path)?;
    if config.registries.is_empty() {
        return Err(Error::NoRegistries { config: path.to_owned() });
    }
    // The kubelet runs in a folder of its own, where a relative path means something else.
    let absolute = |path: &Path| path::absolute(path).map_err(Error::CurrentFolder);
    let entries = entries::plan(&config, version)?;
    let wiring = Wiring { path: &absolute(path)?, bin_dir: &absolute(bin_dir)?, version, platform };
    Ok(wiring.render(&config, &entries))
}

/// What the output is for.
struct Wiring<'a> {
    path: &'a Path,
    bin_dir: &'a Path,
    version: Version,
    platform: &'a Platform,
}

impl Wiring<'_> {
    fn render(&self, config: &Config, entries: &[Entry]) -> String {
        let mut text = self.steps();
        text.push_str(&self.programs(entries));
        text.push_str(&self.remarks(config, entries));
        text.push_str(&permission::render(entries));
        text.push_str("apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n");
        entries.iter().for_each(|entry| text.push_str(&self.entry(entry)));
        text
    }

    fn steps(&self) -> String {
        let Platform { name, config, verified, steps, .. } = self.platform;
        let origin = if *verified { "tried by Tripod's tests" } else { "from its documentation, not tried" };
        let bin_dir = self.bin_dir.display().to_string();
        let steps = steps.iter().map(|step| step.replace("CONFIG", config).replace("BIN_DIR", &bin_dir));
        comment(
            std::iter::once(format!("Platform {name} ({origin}), kubelet {}.", self.version)).chain(steps),
        )
    }

    fn programs(&self, entries: &[Entry]) -> String {
        let bin_dir = self.bin_dir.display();
        let mut lines = vec![format!("The kubelet does not start if {bin_dir}/{NAME} is missing.")];
        let links: Vec<_> = entries.iter().filter(|entry| entry.is_link()).collect();
        if !links.is_empty() {
            lines.push("Nor without these links to it, of which each has an entry of its own:".into());
        }
        lines.extend(links.iter().map(|entry| format!("  ln -sfn {NAME} {bin_dir}/{}", entry.name)));
        comment(lines)
    }

    fn remarks(&self, config: &Config, entries: &[Entry]) -> String {
        let mut lines = Vec::new();
        let version = self.version;
        if version.hides_tokens() && entries.iter().any(|entry| entry.token.is_some()) {
            lines.push(format!(
                "In {version} tokens of pods are behind a feature gate that is off; without it the kubelet does not start:"
            ));
            lines.push("  --feature-gates=KubeletServiceAccountTokenForCredentialProviders=true".into());
        }
        if !version.knows_tokens() {
            let asking =
                config.registries.iter().filter(|registry| registry.source.provider().pod_token().is_some());
            lines.extend(asking.map(|registry| {
                let (file, line) = (registry.file.display(), registry.line);
                format!("A kubelet {version} passes no tokens of pods on: {file}:{line} gets none.")
            }));
        }
        comment(lines)
    }

    fn entry(&self, Entry { name, patterns, token }: &Entry) -> String {
        let patterns: String = patterns.iter().map(|pattern| format!("      - \"{pattern}\"\n")).collect();
        let args = if self.path == Path::new(DEFAULT_PATH) {
            String::new()
        } else {
            format!("    args: [\"--config\", {}]\n", quoted(&self.path.to_string_lossy()))
        };
        format!(
            "  - name: {name}
    apiVersion: {version}
    # The answers say for how long they are good, so this is never used.
    defaultCacheDuration: 0s
    matchImages:
{patterns}{args}{token}",
            version = ApiVersion::V1.as_str(),
            token = token.as_ref().map(|token| self.token(token)).unwrap_or_default(),
        )
    }

    fn token(&self, Token { audience, passed_on, required, annotations }: &Token) -> String {
        let mut lines = format!(
            "    tokenAttributes:\n      serviceAccountTokenAudience: {}\n      requireServiceAccount: {required}\n",
            quoted(audience)
        );
        if self.version.knows_cache_type() {
            let kind = if *passed_on { "Token" } else { "ServiceAccount" };
            add(&mut lines, format_args!("      cacheType: {kind}\n"));
        }
        if !annotations.is_empty() {
            lines.push_str("      optionalServiceAccountAnnotationKeys:\n");
        }
        for annotation in annotations {
            add(&mut lines, format_args!("        - {}\n", quoted(annotation)));
        }
        lines
    }
}

/// A text of JSON is one of YAML as well.
fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}

fn comment(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        add(&mut text, format_args!("# {line}\n"));
        text
    })
}

fn add(text: &mut String, piece: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(piece);
    debug_assert!(written.is_ok(), "writing into a String cannot fail");
}

#[cfg(test)]
mod tests;
