//! Where each platform keeps things on the host.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tripod_credential_provider::kubelet::platform::Platform;

use super::{Choice, every_choice, helm, items, object, of_kind, pod, render, try_render};

/// A platform, by its documentation.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) cni_bin: &'static str,
    pub(super) cni_conf: &'static str,
    pub(super) kubelet: &'static str,
    /// None where no DaemonSet can write to it.
    pub(super) credential_bin: Option<&'static str>,
}

const PLAIN: Preset = Preset {
    name: "kubeadm",
    cni_bin: "/opt/cni/bin",
    cni_conf: "/etc/cni/net.d",
    kubelet: "/var/lib/kubelet",
    credential_bin: Some("/opt/tripod/credential-provider"),
};
const RANCHER: Option<&str> = Some("/var/lib/rancher/credentialprovider/bin");

pub(super) const PRESETS: [Preset; 13] = [
    PLAIN,
    Preset { name: "kind", ..PLAIN },
    Preset {
        name: "k3s",
        cni_bin: "/var/lib/rancher/k3s/data/cni",
        cni_conf: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        credential_bin: RANCHER,
        ..PLAIN
    },
    Preset { name: "rke2", credential_bin: RANCHER, ..PLAIN },
    Preset { name: "k0s", kubelet: "/var/lib/k0s/kubelet", ..PLAIN },
    Preset {
        name: "microk8s",
        cni_bin: "/var/snap/microk8s/current/opt/cni/bin",
        cni_conf: "/var/snap/microk8s/current/args/cni-network",
        kubelet: "/var/snap/microk8s/common/var/lib/kubelet",
        ..PLAIN
    },
    Preset { name: "minikube", ..PLAIN },
    Preset { name: "eks", credential_bin: Some("/etc/eks/image-credential-provider"), ..PLAIN },
    Preset {
        name: "gke",
        cni_bin: "/home/kubernetes/bin",
        credential_bin: Some("/home/kubernetes/bin"),
        ..PLAIN
    },
    Preset { name: "aks", credential_bin: Some("/var/lib/kubelet/credential-provider"), ..PLAIN },
    Preset { name: "openshift", cni_bin: "/var/lib/cni/bin", cni_conf: "/etc/cni/multus/net.d", ..PLAIN },
    Preset { name: "talos", credential_bin: None, ..PLAIN },
    Preset { name: "bottlerocket", credential_bin: None, ..PLAIN },
];

/// Every folder of the host that the legs need, and no other.
fn expected(choice: Choice) -> BTreeSet<String> {
    let preset = choice.preset;
    let mut paths = BTreeSet::new();
    let mut add = |wanted: bool, names: &[&str]| {
        paths.extend(names.iter().filter(|_| wanted).map(|&name| name.to_owned()));
    };
    add(choice.cni, &[preset.cni_bin, preset.cni_conf, "/run/tripod", "/proc/sys/net"]);
    add(choice.cni || choice.credential_provider, &["/etc/tripod"]);
    add(choice.device_plugin, &["/dev", "/sys", "/proc", "/var/run/cdi"]);
    let sockets = ["device-plugins", "pod-resources"].map(|name| format!("{}/{name}", preset.kubelet));
    add(choice.device_plugin, &sockets.each_ref().map(String::as_str));
    add(choice.credential_provider, preset.credential_bin.as_slice());
    paths
}

/// Every folder of the host that pods mount.
fn host_paths(objects: &[Value]) -> BTreeSet<String> {
    let volumes = of_kind(objects, "DaemonSet").into_iter().flat_map(|set| items(&pod(set)["volumes"]));
    volumes.filter_map(|volume| volume["hostPath"]["path"].as_str().map(str::to_owned)).collect()
}

#[test]
fn pods_mount_the_folders_that_their_legs_need_where_the_platform_has_them() {
    let Some(_) = helm() else { return };
    for (choice, objects) in every_choice() {
        assert_eq!(host_paths(objects), expected(*choice), "{choice:?}");
    }
}

#[test]
fn a_path_of_the_admins_wins_over_the_platforms() {
    let Some(_) = helm() else { return };
    let paths =
        host_paths(&render(&["platform=k3s", "paths.cniBinDir=/bin", "paths.kubeletDir=/srv/kubelet"]));
    for path in ["/bin", "/srv/kubelet/device-plugins", "/var/lib/rancher/k3s/agent/etc/cni/net.d"] {
        assert!(paths.contains(path), "{path} is not in {paths:?}");
    }
}

/// `kubelet-config` tells the kubelet to look where the chart puts the provider.
#[test]
fn the_credential_provider_lies_where_kubelet_config_says() {
    for preset in &PRESETS {
        let platform = Platform::named(preset.name).unwrap_or_else(|| panic!("no platform {}", preset.name));
        // The folder that OpenShift's own kubelet looks into is read-only, so it has to be told of another one.
        if let Some(bin_dir) = platform.bin_dir.filter(|_| preset.name != "openshift") {
            assert!(preset.credential_bin.is_none_or(|path| path == bin_dir), "{preset:?}: {bin_dir}");
        }
    }
    assert_eq!(PRESETS.len() + 1, Platform::all().len(), "all but plain have a preset");
}

#[test]
fn where_the_credential_provider_cannot_be_installed_it_is_off_and_the_notes_say_what_to_do() {
    let Some(_) = helm() else { return };
    for preset in PRESETS.iter().filter(|preset| preset.credential_bin.is_none()) {
        let platform = format!("platform={}", preset.name);
        let notes = notes(&[&platform]);
        let command = format!("tripod-credential-provider kubelet-config --platform {}", preset.name);
        assert!(notes.contains(&command) && notes.contains("read-only"), "{notes}");
        let refused = try_render(&[&platform, "credentialProvider.enabled=true"]).expect_err("refused");
        assert!(refused.contains("read-only") && refused.contains(preset.name), "{refused}");
    }
    let notes = notes(&["platform=eks"]);
    assert!(notes.contains("--platform eks --bin-dir /etc/eks/image-credential-provider"), "{notes}");
}

fn notes(settings: &[&str]) -> String {
    let mut words = vec!["install", "--dry-run=client", "--namespace=tripod-system", "tripod"];
    words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = super::run(&words);
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let (_, notes) = text.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("no notes: {output:?}"));
    notes.to_owned()
}

#[test]
fn only_some_platforms_need_selinux_labels_or_a_quota() {
    let Some(_) = helm() else { return };
    for preset in &PRESETS {
        let objects = render(&[&format!("platform={}", preset.name)]);
        let label = match preset.name {
            "openshift" => json!({"type": "spc_t"}),
            "bottlerocket" => {
                json!({"user": "system_u", "role": "system_r", "type": "super_t", "level": "s0"})
            }
            _ => Value::Null,
        };
        let set = object(&objects, "DaemonSet", "tripod");
        assert_eq!(pod(set)["securityContext"]["seLinuxOptions"], label, "{}", preset.name);
        let quotas = of_kind(&objects, "ResourceQuota").len();
        assert_eq!(quotas, usize::from(preset.name == "gke"), "{}", preset.name);
        let constraints = of_kind(&objects, "SecurityContextConstraints").len();
        assert_eq!(constraints, usize::from(preset.name == "openshift"), "{}", preset.name);
    }
}
