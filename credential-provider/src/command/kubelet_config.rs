//! `kubelet-config`: the kubelet's side of the wiring.
//!
//! The kubelet reads its file and the flags only when it starts, and does not start with a mistake in
//! them, so they are printed for the admin and never edited.

use std::path::{self, Path};

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
    // The kubelet runs in a folder of its own, where a relative path means something else.
    let absolute = |path: &Path| path::absolute(path).map_err(Error::CurrentFolder);
    Ok(render(&config, &absolute(path)?, &absolute(bin_dir)?))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::render;
    use crate::config::{Config, DEFAULT_PATH};

    /// The fields of the kubelet's type that are written, and no others.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Document {
        api_version: String,
        kind: String,
        providers: Vec<Provider>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Provider {
        name: String,
        api_version: String,
        default_cache_duration: String,
        match_images: Vec<String>,
        #[serde(default)]
        args: Vec<String>,
    }

    fn document(path: &str) -> (String, Document) {
        let text = "version: v1\nregistries:\n\
            - {match: [a.io, \"*.b.io:5000\"], provider: docker-config, file: /1}\n\
            - {match: [a.io], provider: docker-config, file: /2}\n";
        let config = Config::parse(Path::new(path), text.as_bytes()).unwrap();
        let yaml = render(&config, Path::new(path), Path::new("/opt/providers"));
        let parsed = serde_saphyr::from_str(&yaml).unwrap();
        (yaml, parsed)
    }

    #[test]
    fn every_pattern_is_there_once_and_the_flags_are_told() {
        let (yaml, Document { api_version, kind, providers }) = document(DEFAULT_PATH);
        assert_eq!(
            (api_version.as_str(), kind.as_str()),
            ("kubelet.config.k8s.io/v1", "CredentialProviderConfig")
        );
        let [provider] = providers.as_slice() else { panic!("one provider: {providers:?}") };
        assert_eq!(provider.name, "tripod-credential-provider");
        assert_eq!(provider.api_version, "credentialprovider.kubelet.k8s.io/v1");
        assert_eq!(provider.default_cache_duration, "0s");
        assert_eq!(provider.match_images, ["a.io", "*.b.io:5000"]);
        assert!(provider.args.is_empty());
        assert!(yaml.contains("--image-credential-provider-bin-dir=/opt/providers"));
    }

    #[test]
    fn a_configuration_elsewhere_is_passed_on() {
        let (_, document) = document("/srv/a \"b\".yaml");
        let args: Vec<_> = document.providers.into_iter().flat_map(|provider| provider.args).collect();
        assert_eq!(args, ["--config", "/srv/a \"b\".yaml"]);
    }
}
