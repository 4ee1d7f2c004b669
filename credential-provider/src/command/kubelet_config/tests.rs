use std::path::Path;

use serde::Deserialize;

use super::Wiring;
use crate::config::{Config, DEFAULT_PATH};
use crate::kubelet::entries;
use crate::kubelet::platform::Platform;
use crate::kubelet::version::Version;

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
    token_attributes: Option<Attributes>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Attributes {
    service_account_token_audience: String,
    cache_type: Option<String>,
    require_service_account: bool,
    #[serde(default)]
    optional_service_account_annotation_keys: Vec<String>,
}

const PLAIN: &str = "- {match: [a.io, \"*.b.io:5000\"], provider: docker-config, file: /1}\n\
                     - {match: [a.io], provider: docker-config, file: /2}\n";
const TOKENS: &str = "- {match: [h.io], provider: harbor, tokenAudience: \"h \\\"h\\\"\"}\n\
                      - {match: [i.io], provider: harbor, tokenAudience: other}\n\
                      - {match: [q.azurecr.io], provider: acr, identity: [service-account, managed]}\n";

fn rendered(registries: &str, path: &str, version: &str, platform: &Platform) -> (String, Document) {
    let text = format!("version: v1\nregistries:\n{registries}");
    let path = Path::new(path);
    let config = Config::parse(path, text.as_bytes()).unwrap();
    let version = Version::parse(version).unwrap();
    let wiring = Wiring { path, bin_dir: Path::new("/opt/providers"), version, platform };
    let yaml = wiring.render(&config, &entries::plan(&config, version).unwrap());
    let document = serde_saphyr::from_str(&yaml).unwrap();
    (yaml, document)
}

#[test]
fn every_pattern_is_there_once_and_the_flags_are_told() {
    let (yaml, Document { api_version, kind, providers }) =
        rendered(PLAIN, DEFAULT_PATH, "1.37", Platform::plain());
    assert_eq!(
        (api_version.as_str(), kind.as_str()),
        ("kubelet.config.k8s.io/v1", "CredentialProviderConfig")
    );
    let [provider] = providers.as_slice() else { panic!("one provider: {providers:?}") };
    assert_eq!(provider.name, "tripod-credential-provider");
    assert_eq!(provider.api_version, "credentialprovider.kubelet.k8s.io/v1");
    assert_eq!(provider.default_cache_duration, "0s");
    assert_eq!(provider.match_images, ["a.io", "*.b.io:5000"]);
    assert!(provider.args.is_empty() && provider.token_attributes.is_none());
    assert!(yaml.contains("--image-credential-provider-bin-dir=/opt/providers"));
    assert!(!yaml.contains("ClusterRole") && !yaml.contains("ln -s"), "{yaml}");
}

#[test]
fn a_configuration_elsewhere_is_passed_on() {
    let (_, document) = rendered(PLAIN, "/srv/a \"b\".yaml", "1.37", Platform::plain());
    let args: Vec<_> = document.providers.into_iter().flat_map(|provider| provider.args).collect();
    assert_eq!(args, ["--config", "/srv/a \"b\".yaml"]);
}

#[test]
fn every_audience_has_an_entry_a_link_and_a_permission() {
    let (yaml, document) = rendered(&format!("{PLAIN}{TOKENS}"), DEFAULT_PATH, "1.34", Platform::plain());
    let names: Vec<_> = document.providers.iter().map(|provider| provider.name.as_str()).collect();
    let expected =
        ["", "-harbor", "-harbor-2", "-acr"].map(|tail| format!("tripod-credential-provider{tail}"));
    assert_eq!(names, expected);
    let [_, harbor, _, acr] = &document.providers[..] else { panic!("four providers") };
    let attributes = |audience: &str, kind: &str, required, keys: &[&str]| Attributes {
        service_account_token_audience: audience.into(),
        cache_type: Some(kind.into()),
        require_service_account: required,
        optional_service_account_annotation_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    assert_eq!(harbor.token_attributes, Some(attributes("h \"h\"", "Token", true, &[])));
    let keys = ["kubernetes.azure.com/acr-client-id", "kubernetes.azure.com/acr-tenant-id"];
    let expected = attributes("api://AzureADTokenExchange", "ServiceAccount", false, &keys);
    assert_eq!(acr.token_attributes, Some(expected));
    for piece in [
        "ln -sfn tripod-credential-provider /opt/providers/tripod-credential-provider-harbor-2",
        "#>       - \"other\"",
        "#>     name: system:nodes",
    ] {
        assert!(yaml.contains(piece), "{piece:?} is not in {yaml}");
    }
}

#[test]
fn older_kubelets_get_only_what_they_know() {
    let (yaml, document) = rendered(TOKENS, DEFAULT_PATH, "1.33", Platform::plain());
    let types = document.providers.iter().map(|provider| provider.token_attributes.as_ref().unwrap());
    assert!(types.clone().count() == 3 && types.clone().all(|attributes| attributes.cache_type.is_none()));
    assert!(yaml.contains("KubeletServiceAccountTokenForCredentialProviders=true"));
    let (yaml, document) = rendered(TOKENS, DEFAULT_PATH, "1.32", Platform::plain());
    assert!(document.providers.iter().all(|provider| provider.token_attributes.is_none()));
    assert!(
        yaml.contains("passes no tokens of pods on: /etc/tripod/credential-provider.yaml:3 gets none"),
        "{yaml}"
    );
}

#[test]
fn a_token_for_nobody_is_an_error() {
    let text = "version: v1\nregistries:\n- {match: [h.io], provider: harbor}\n";
    let config = Config::parse(Path::new("/c"), text.as_bytes()).unwrap();
    let error = entries::plan(&config, Version::NEWEST).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/c:3: the entry asks with a pod's token, and does not say for which audience"
    );
}

#[test]
fn every_platform_is_told_what_to_do() {
    for platform in Platform::all() {
        let (yaml, _) = rendered(PLAIN, DEFAULT_PATH, "1.37", platform);
        let first = yaml.lines().next().unwrap();
        let origin = if platform.name == "plain" { "tried by" } else { "from its documentation" };
        assert!(first.contains(platform.name) && first.contains(origin), "{first}");
        assert!(!yaml.contains("CONFIG\n") && !yaml.contains("BIN_DIR"), "{yaml}");
    }
}
