//! `kubelet-config`: the kubelet's side of the wiring.
//!
//! The kubelet reads its file and the flags only when it starts, and does not start with a mistake in
//! them, so they are printed for the admin and never edited.

use std::path::Path;

use crate::config::{Config, DEFAULT_PATH};
use crate::error::Error;
use crate::wire::ApiVersion;

/// The provider's name, which is its file name in the kubelet's folder of providers.
pub const NAME: &str = "tripod-credential-provider";

/// A `CredentialProviderConfig` as YAML, with the flags in its first comment. `path` is our configuration.
pub fn kubelet_config(path: &Path, bin_dir: &Path) -> Result<String, Error> {
    let config = Config::load(path)?;
    if config.registries.is_empty() {
        return Err(Error::NoRegistries { config: path.to_owned() });
    }
    Ok(render(&config, path, bin_dir))
}

fn render(config: &Config, path: &Path, bin_dir: &Path) -> String {
    let mut patterns: Vec<String> = Vec::new();
    for pattern in config.patterns().map(|pattern| format!("      - \"{}\"\n", pattern.as_str())) {
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    let args = if path == Path::new(DEFAULT_PATH) {
        String::new()
    } else {
        format!("    args: [\"--config\", {}]\n", serde_json::Value::from(path.to_string_lossy()))
    };
    format!(
        "\
# Save this on the node, for example as /etc/kubernetes/credential-providers.yaml, add two flags to the
# kubelet, and restart it:
#   --image-credential-provider-config=/etc/kubernetes/credential-providers.yaml
#   --image-credential-provider-bin-dir={bin_dir}
# The kubelet does not start if {bin_dir}/{NAME} is missing.
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: {NAME}
    apiVersion: {version}
    # The answers say for how long they are good, so this is never used.
    defaultCacheDuration: 0s
    matchImages:
{patterns}{args}",
        bin_dir = bin_dir.display(),
        version = ApiVersion::V1.as_str(),
        patterns = patterns.concat(),
    )
}
