//! `daemonset/manifests` is the chart with its defaults, for `kubectl apply -k`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tripod_tests::programs;

use super::{documents, helm, try_render};

const HEADER: &str = "# Rendered from daemonset/chart, which is where to change it:\n\
    # TRIPOD_BLESS=1 cargo test -p tripod-tests --test cases chart::manifests\n";

/// The chart's template that becomes files of settings, so that people edit YAML and not a text in YAML.
const SETTINGS: &str = "config.yaml";

fn folder() -> PathBuf {
    programs::workspace().join("daemonset/manifests")
}

/// What the folder has to hold, beside `kustomization.yaml`.
fn rendered() -> BTreeMap<String, String> {
    let text = try_render(&[]).expect("the chart renders");
    let mut templates = BTreeMap::<&str, Vec<&str>>::new();
    for document in text.split("---\n# Source: tripod/templates/").skip(1) {
        let (template, body) = document.split_once('\n').expect("a template's name on a line");
        templates.entry(template).or_default().push(body.trim_end());
    }
    let settings = settings(&templates.remove(SETTINGS).expect("settings").concat());
    let files = templates
        .into_iter()
        .map(|(template, bodies)| (template.to_owned(), format!("{HEADER}{}\n", bodies.join("\n---\n"))));
    files.chain(settings).collect()
}

fn settings(config_map: &str) -> Vec<(String, String)> {
    let [config_map] = documents(config_map).try_into().expect("one ConfigMap");
    let data: &serde_json::Map<String, Value> = config_map["data"].as_object().expect("data");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    data.iter().map(|(key, value)| (format!("config/{key}"), text(value))).collect()
}

fn committed() -> BTreeMap<String, String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut files = BTreeMap::new();
    for below in ["", "config/"] {
        for entry in std::fs::read_dir(folder().join(below)).expect("a folder of manifests") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                let name = format!("{below}{}", entry.file_name().to_string_lossy());
                files.insert(name, read(&entry.path()));
            }
        }
    }
    files
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    let Some(_) = helm() else { return };
    let rendered = rendered();
    if std::env::var_os("TRIPOD_BLESS").is_some() {
        for (name, text) in &rendered {
            std::fs::write(folder().join(name), text).expect("a manifest");
        }
    }
    let mut committed = committed();
    let kustomization = committed.remove("kustomization.yaml").expect("kustomization.yaml");
    assert_eq!(
        names(&rendered),
        names(&committed),
        "delete what is too much; TRIPOD_BLESS=1 writes the rest"
    );
    for (name, text) in &rendered {
        let same = committed.get(name) == Some(text);
        assert!(same, "daemonset/manifests/{name} is out of date: run again with TRIPOD_BLESS=1\n{text}");
    }
    covers_all(&kustomization, &rendered);
}

fn names(files: &BTreeMap<String, String>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

/// The one file that a person writes names all the others.
fn covers_all(kustomization: &str, rendered: &BTreeMap<String, String>) {
    let [kustomization] = documents(kustomization).try_into().expect("one document");
    let listed = |value: &Value| -> Vec<String> {
        let mut names: Vec<_> =
            super::items(value).iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    };
    let (settings, resources): (Vec<_>, Vec<_>) =
        rendered.keys().cloned().partition(|name| name.starts_with("config/"));
    assert_eq!(listed(&kustomization["resources"]), resources);
    assert_eq!(listed(&kustomization["configMapGenerator"][0]["files"]), settings);
}
