use serde_json::json;
use tripod_cni::finding::Severity;

use super::*;

#[test]
fn a_runtime_without_a_network_is_a_failure_only_where_ours_is_written() {
    let told = |ready: bool, word: &str, message: &str| {
        let condition = json!({"status": word, "reason": "x", "message": message});
        loaded(&json!({"node": "n1", "ready": ready, "nodeReady": condition})).severity
    };
    let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
        message:Network plugin returns error: cni plugin not initialized";
    assert_eq!(told(true, "True", "kubelet is posting ready status"), Severity::Ok);
    assert_eq!(told(true, "False", message), Severity::Fail);
    assert_eq!(told(false, "False", message), Severity::Warn);
    assert_eq!(told(true, "Unknown", "Kubelet stopped posting node status."), Severity::Warn);
    assert_eq!(loaded(&json!({"node": "n1", "nodeReady": null})).severity, Severity::Ok);
}

#[test]
fn configurations_that_come_first_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("10-tripod.conflist");
    fs::write(&ours, "").unwrap();
    fs::write(folder.path().join("87-other.conflist"), "").unwrap();
    assert_eq!(order(&ours).unwrap().severity, Severity::Ok);
    fs::write(folder.path().join("05-flannel.conflist"), "").unwrap();
    let found = order(&ours).unwrap();
    assert!(found.severity == Severity::Warn && found.evidence.starts_with("05-flannel.conflist"), "{found}");
}

/// A host on which a program runs with these words and files.
fn host(words: &[&str], files: &[(&str, &str)]) -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    let process = host.path().join("proc/77");
    fs::create_dir_all(process.join("root")).unwrap();
    fs::write(process.join("cmdline"), words.join("\0")).unwrap();
    fs::write(process.join("status"), "NSpid:\t77\n").unwrap();
    for (path, text) in files {
        let path = process.join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    host
}

fn looks(words: &[&str], files: &[(&str, &str)]) -> Vec<(Severity, String)> {
    let host = host(words, files);
    let found =
        places(host.path(), Path::new("/etc/cni/net.d/10-tripod.conflist"), Path::new("/opt/cni/bin"));
    found.into_iter().map(|one| (one.severity, one.evidence)).collect()
}

#[test]
fn folders_of_a_runtime_are_compared_with_ours() {
    let good = vec![
        (Severity::Ok, "it looks in /etc/cni/net.d".to_owned()),
        (Severity::Ok, "it looks in /opt/cni/bin".to_owned()),
    ];
    assert_eq!(looks(&["/usr/bin/containerd"], &[]), good);
    let config = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  # conf_dir = '/x'\n  bin_dirs = ['/opt/cni/bin', '/y']\n\
        conf_dir = \"/etc/cni/net.d\"\n[plugins.other]\nconf_dir = '/z'\n";
    assert_eq!(looks(&["containerd"], &[("etc/containerd/config.toml", config)])[0], good[0]);
    let elsewhere =
        "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/var/lib/k3s/net.d\"\nbin_dir = \"\"\n";
    let found = looks(&["containerd", "-c", "/k3s.toml"], &[("k3s.toml", elsewhere)]);
    assert_eq!((found[0].0, &found[1]), (Severity::Warn, &good[1]));
    assert!(found[0].1.contains("/k3s.toml it looks in /var/lib/k3s/net.d"), "{found:?}");
    let crio = [
        ("etc/crio/crio.conf", "[crio.network]\nplugin_dirs = [\"/usr/libexec/cni\"]\n"),
        (
            "etc/crio/crio.conf.d/10.conf",
            "[crio.network]\nplugin_dirs = [\"/usr/libexec/cni\", \"/opt/cni/bin\"]\n",
        ),
    ];
    assert_eq!(looks(&["/usr/bin/crio"], &crio)[1].0, Severity::Ok);
    assert_eq!(looks(&["/usr/bin/crio"], &crio[..1])[1].0, Severity::Warn);
    assert!(looks(&["bash"], &[])[0].1.contains("can be seen from here"));
}
