use std::fs;
use std::time::{Duration, SystemTime};

use tripod_cni::finding::Severity;

use super::*;

/// A host whose kubelet started a minute ago with these flags, and sees its files.
struct Host(tempfile::TempDir);

const FLAGS: [&str; 3] = [
    "/usr/bin/kubelet",
    "--image-credential-provider-config=/etc/providers.yaml",
    "--image-credential-provider-bin-dir=/opt/providers",
];
const FILE: &str = "kind: CredentialProviderConfig\nproviders: [{name: tripod-credential-provider}]\n";

impl Host {
    fn new(words: &[&str]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        host.write("proc/stat", &format!("btime {}\n", now - 1060));
        let fields = (4..=21).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        host.write("proc/9/stat", &format!("9 (kubelet) S {fields} 100000 0"));
        host.write("proc/9/cmdline", &words.join("\0"));
        host.write("proc/9/status", "NSpid:\t9\n");
        host
    }

    fn wired() -> Self {
        let host = Self::new(&FLAGS);
        host.write("proc/9/root/etc/providers.yaml", FILE);
        host.age("proc/9/root/etc/providers.yaml");
        host.write("proc/9/root/opt/providers/tripod-credential-provider", "");
        let program = host.0.path().join("proc/9/root/opt/providers/tripod-credential-provider");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes a file older than the kubelet.
    fn age(&self, path: &str) {
        let file = fs::File::options().write(true).open(self.0.path().join(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    }

    fn told(&self) -> (Severity, String) {
        let found = findings(self.0.path(), &self.0.path().join("etc"));
        let [finding] = &found[..] else { panic!("{found:?}") };
        (finding.severity, format!("{}: {}", finding.object, finding.evidence))
    }
}

fn is_warned(host: &Host, words: &str) {
    let (severity, text) = host.told();
    assert!(severity == Severity::Warn && text.contains(words), "{words}: {text}");
}

#[test]
fn a_kubelet_that_is_wired_is_told_with_what_it_starts() {
    let (severity, text) = Host::wired().told();
    assert_eq!(severity, Severity::Ok, "{text}");
    assert!(text.ends_with("starts what is in /opt/providers: tripod-credential-provider"), "{text}");
}

#[test]
fn what_changed_after_its_start_is_told() {
    let host = Host::wired();
    host.write("proc/9/root/etc/providers.yaml", FILE);
    is_warned(&host, "was changed at");
}

#[test]
fn what_would_keep_it_from_starting_again_is_told() {
    let host = Host::wired();
    fs::remove_file(host.0.path().join("proc/9/root/opt/providers/tripod-credential-provider")).unwrap();
    is_warned(&host, "/opt/providers/tripod-credential-provider: is named");
    host.write("proc/9/root/etc/providers.yaml", "providers: {");
    is_warned(&host, "would not start again");
    is_warned(&Host::new(&FLAGS[..2]), "one of");
}

#[test]
fn a_kubelet_that_is_not_wired_is_told_where_there_are_registries() {
    let host = Host::new(&FLAGS[..1]);
    assert_eq!(host.told().0, Severity::Ok);
    host.write("etc/credential-provider.yaml", "version: v1\nregistries: [{match: [r.example.com]}]\n");
    is_warned(&host, "credential-provider.yaml is never asked");
    let (severity, text) = Host::new(&["/usr/bin/bash"]).told();
    assert!(severity == Severity::Ok && text.contains("none can be seen"), "{text}");
}
