//! The Helm chart, as Helm renders it, and the manifests made of it.

mod manifests;
mod objects;
mod placement;
mod presets;
mod rights;
mod uninstall;
mod values;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use tripod_tests::cluster::Programs;
use tripod_tests::programs;

/// What the chart's templates go by, unless a test says otherwise.
const KUBERNETES: &str = "1.37.0";

/// Helm; none, loudly, where it cannot be built.
fn helm() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| Programs::with_go("tests of the chart", Programs::helm)).as_deref()
}

fn chart() -> PathBuf {
    programs::workspace().join("daemonset/chart")
}

/// Runs Helm without anybody's settings. The chart's folder is the last word.
fn run(words: &[&str]) -> Output {
    let home = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(helm().expect("Helm was built"));
    command.args(words).arg(chart()).env_clear().env("HOME", home.path()).output().expect("helm")
}

/// What the chart comes to with `settings` (`name=value`), or why it does not.
fn try_render(settings: &[&str]) -> Result<String, String> {
    render_for(KUBERNETES, settings)
}

/// The same for an API server of this version.
fn render_for(kubernetes: &str, settings: &[&str]) -> Result<String, String> {
    let mut words = vec!["template", "--namespace=tripod-system", "--kube-version", kubernetes, "tripod"];
    words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = run(&words);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Every object that the chart comes to with `settings`.
fn render(settings: &[&str]) -> Vec<Value> {
    let text = try_render(settings).unwrap_or_else(|error| panic!("{settings:?}: {error}"));
    documents(&text)
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// All of this kind.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one of this kind and name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The items of a list; none where there is no list.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The pod of a DaemonSet.
fn pod(daemonset: &Value) -> &Value {
    &daemonset["spec"]["template"]["spec"]
}

/// All containers of a pod, those of its beginning first.
fn containers(pod: &Value) -> Vec<&Value> {
    items(&pod["initContainers"]).iter().chain(items(&pod["containers"])).collect()
}

fn names<'a>(list: &[&'a Value]) -> Vec<&'a str> {
    list.iter().filter_map(|one| one["name"].as_str().or_else(|| one["metadata"]["name"].as_str())).collect()
}

/// Every platform, split or not, with each choice of legs, and what each comes to: a hundred runs of Helm, once.
fn every_choice() -> &'static [(Choice, Vec<Value>)] {
    static RENDERED: OnceLock<Vec<(Choice, Vec<Value>)>> = OnceLock::new();
    let rendered = || choices().into_iter().map(|choice| (choice, choice.objects())).collect();
    RENDERED.get_or_init(rendered)
}

fn choices() -> Vec<Choice> {
    let mut choices = Vec::new();
    for preset in &presets::PRESETS {
        for split in [false, true] {
            for legs in 1..8 {
                let credential_provider = legs & 4 != 0;
                let possible = preset.credential_bin.is_some() || !credential_provider;
                let leg = |bit: u8| legs & bit != 0;
                if possible {
                    let (cni, device_plugin) = (leg(1), leg(2));
                    choices.push(Choice { preset, split, cni, device_plugin, credential_provider });
                }
            }
        }
    }
    choices
}

/// What an admin chose.
#[derive(Clone, Copy, Debug)]
struct Choice {
    preset: &'static presets::Preset,
    split: bool,
    cni: bool,
    device_plugin: bool,
    credential_provider: bool,
}

impl Choice {
    fn objects(self) -> Vec<Value> {
        let settings = [
            format!("platform={}", self.preset.name),
            format!("split={}", self.split),
            format!("cni.enabled={}", self.cni),
            format!("devicePlugin.enabled={}", self.device_plugin),
            format!("credentialProvider.enabled={}", self.credential_provider),
        ];
        render(&settings.each_ref().map(String::as_str))
    }
}
