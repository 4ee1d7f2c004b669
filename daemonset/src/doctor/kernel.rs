//! What the kernel has for pods' networks and how much of it is used. Only looks.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tripod_cni::finding::{Finding, Severity};

use crate::kernel::{Link, release};
use crate::mesh::WIREGUARD;
use crate::processes;
use crate::status::say;

/// The first release that everything here works on.
const OLDEST: (u32, u32) = (5, 6);
/// In percent: past this, new connections will soon be dropped.
const NEARLY_FULL: u64 = 90;

/// Longest of the lists of modules, in bytes: those of distributions have half a MiB to a few.
const LONGEST_LIST: u64 = 16 << 20;

/// Modules, as far as they can be seen, and the table of tracked connections.
pub(super) fn findings(host: &Path, sysctl: &Path, links: &[Link], status: Option<&Value>) -> Vec<Finding> {
    let mut findings = vec![release_of(release())];
    let modules = Modules::read(host);
    findings.extend(devices(&modules, links, status));
    let tracked =
        sysctl.join("netfilter/nf_conntrack_count").exists().then(|| "it counts connections".to_owned());
    findings.push(modules.finding(
        "nf_conntrack",
        tracked,
        "load it: modprobe nf_conntrack; it comes with the first rule that needs it",
    ));
    findings.extend(connections(sysctl));
    findings
}

/// What devices between nodes need: VXLAN where it is not known to be needless, WireGuard where peers need it.
fn devices(modules: &Modules, links: &[Link], status: Option<&Value>) -> Vec<Finding> {
    let of = |kind: fn(&&Link) -> bool| {
        links.iter().find(kind).map(|link| format!("{} is a device of it", link.name))
    };
    let mut findings = Vec::new();
    let overlay = of(|link| link.vxlan.is_some());
    if status.is_none_or(|status| is_needed(status, "vxlan")) || overlay.is_some() {
        let fix =
            "load it (modprobe vxlan), or set backend: direct in node.yaml where all nodes are on one link";
        let found = modules.finding("vxlan", overlay, fix);
        // Without the agent's word nobody knows whether any peer is behind a router.
        let is_missed = status.is_some() || found.severity == Severity::Ok;
        findings.push(if is_missed { found } else { Finding { severity: Severity::Ok, ..found } });
    }
    let wireguard = of(|link| link.is_wireguard && link.name == WIREGUARD);
    if status.is_some_and(|status| is_needed(status, "wireguard")) || wireguard.is_some() {
        let fix = "load it (modprobe wireguard), or use a kernel that has it: without it, pods of other nodes are not \
            reached";
        findings.push(modules.finding("wireguard", wireguard, fix));
    }
    findings
}

/// Whether a way to any peer is of this backend, or a device for it is wanted.
fn is_needed(status: &Value, backend: &str) -> bool {
    let list = |key| status.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_of_it = |device: &Value| (say(device, "name") == WIREGUARD) == (backend == "wireguard");
    list("peers").iter().any(|peer| say(peer, "backend") == backend) || list("overlays").iter().any(is_of_it)
}

fn release_of(release: Option<(u32, u32)>) -> Finding {
    const CHECK: &str = "kernel";
    match release {
        Some((major, minor)) if (major, minor) < OLDEST => {
            let text = format!("Linux {major}.{minor} is older than 5.6, the oldest that is supported");
            Finding::warn(CHECK, "release", text)
                .fix("use a newer kernel; what it lacks is named by code 105")
        }
        Some((major, minor)) => Finding::ok(CHECK, "release", format!("Linux {major}.{minor}")),
        None => Finding::ok(CHECK, "release", "it cannot be read"),
    }
}

/// Which modules there are.
#[derive(Debug)]
struct Modules {
    loaded: String,
    /// Those that could be loaded or are built in, where the host's folder can be seen.
    known: Option<String>,
}

impl Modules {
    fn read(host: &Path) -> Self {
        let loaded = processes::read(Path::new("/proc/modules")).unwrap_or_default();
        let release = nix::sys::utsname::uname().ok();
        let release = release.as_ref().and_then(|it| it.release().to_str()).unwrap_or_default();
        let folder = host.join("lib/modules").join(release);
        let texts = ["modules.dep", "modules.builtin"]
            .map(|name| processes::read_up_to(&folder.join(name), LONGEST_LIST).ok());
        let known = texts.iter().any(Option::is_some).then(|| texts.into_iter().flatten().collect());
        Self { loaded, known }
    }

    fn finding(&self, module: &str, evidence: Option<String>, fix: &str) -> Finding {
        const CHECK: &str = "kernel";
        let is_loaded = || self.loaded.lines().any(|line| line.split(' ').next() == Some(module));
        let file = format!("/{module}.ko");
        let text = match (&self.known, evidence) {
            (_, Some(evidence)) => evidence,
            _ if is_loaded() => "its module is loaded".to_owned(),
            (Some(known), None) if known.contains(&file) => {
                "it is built in, or its module can be loaded".to_owned()
            }
            (Some(_), None) => {
                let text = "the kernel has it neither built in nor as a module, as far as /lib/modules tells";
                return Finding::warn(CHECK, module, text).fix(fix);
            }
            (None, None) => {
                let text = "it is not in use; whether the kernel has it cannot be seen from here";
                return Finding::ok(CHECK, module, text).fix("run the doctor on the node itself");
            }
        };
        Finding::ok(CHECK, module, text)
    }
}

/// Whether there is room for new connections, which are dropped without.
fn connections(sysctl: &Path) -> Option<Finding> {
    const CHECK: &str = "conntrack";
    let read =
        |name: &str| fs::read_to_string(sysctl.join("netfilter").join(name)).ok()?.trim().parse::<u64>().ok();
    let (count, most) = (read("nf_conntrack_count")?, read("nf_conntrack_max")?);
    let text = format!("{count} connections of at most {most}");
    if most == 0 || count * 100 < most * NEARLY_FULL {
        return Some(Finding::ok(CHECK, "nf_conntrack", text));
    }
    let text = format!("{text}: new ones are dropped when it is full (\"table full, dropping packet\")");
    let fix = format!("sysctl -w net.netfilter.nf_conntrack_max={}; and see who opens so many", most * 2);
    Some(Finding::warn(CHECK, "nf_conntrack", text).fix(fix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_connections_that_fills_up_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("netfilter")).unwrap();
        assert_eq!(connections(folder.path()), None);
        let told = |count: u64, most: u64| {
            fs::write(folder.path().join("netfilter/nf_conntrack_count"), format!("{count}\n")).unwrap();
            fs::write(folder.path().join("netfilter/nf_conntrack_max"), format!("{most}\n")).unwrap();
            connections(folder.path()).unwrap().severity
        };
        assert_eq!(
            [told(899, 1000), told(900, 1000), told(5, 0)],
            [Severity::Ok, Severity::Warn, Severity::Ok]
        );
    }

    #[test]
    fn a_module_is_missed_only_where_it_is_known_to_be_missing() {
        let modules = |known: Option<&str>| Modules {
            loaded: "vxlan 100 0\n".to_owned(),
            known: known.map(str::to_owned),
        };
        let severity = |known, module| modules(known).finding(module, None, "").severity;
        assert_eq!(severity(Some("kernel/net/x.ko:\n"), "nf_conntrack"), Severity::Warn);
        assert_eq!(severity(Some("kernel/net/netfilter/nf_conntrack.ko:\n"), "nf_conntrack"), Severity::Ok);
        assert_eq!(severity(Some(""), "vxlan"), Severity::Ok);
        assert!(modules(None).finding("nf_conntrack", None, "").evidence.contains("cannot be seen"));
        let used = modules(Some("")).finding("nf_conntrack", Some("it counts".to_owned()), "");
        assert_eq!((used.severity, &used.evidence[..]), (Severity::Ok, "it counts"));
    }

    #[test]
    fn a_module_is_missed_only_where_the_ways_to_peers_need_it() {
        let modules = Modules { loaded: String::new(), known: Some(String::new()) };
        let missed = |status: Option<Value>| {
            let found = devices(&modules, &[], status.as_ref());
            let warned = found.into_iter().filter(|it| it.severity == Severity::Warn);
            warned.map(|it| it.object).collect::<Vec<_>>()
        };
        let with = |backend: &str| json!({"peers": [{"name": "n2", "backend": backend}], "overlays": []});
        assert_eq!(missed(Some(with("vxlan"))), ["vxlan"]);
        assert_eq!(missed(Some(with("wireguard"))), ["wireguard"]);
        assert_eq!(missed(Some(with("direct"))), [""; 0]);
        assert_eq!(missed(None), [""; 0]);
        assert_eq!(missed(Some(json!({"overlays": [{"name": "tripod4", "vni": 1}]}))), ["vxlan"]);
        assert_eq!(missed(Some(json!({"overlays": [{"name": WIREGUARD}]}))), ["wireguard"]);
    }

    #[test]
    fn a_module_at_the_end_of_a_long_list_is_found() {
        let host = tempfile::tempdir().unwrap();
        let release = nix::sys::utsname::uname().unwrap().release().to_owned();
        let folder = host.path().join("lib/modules").join(release);
        fs::create_dir_all(&folder).unwrap();
        let others = "kernel/drivers/net/some-long-name.ko.xz:\n".repeat(50_000);
        fs::write(folder.join("modules.dep"), format!("{others}kernel/net/nf_of_a_test.ko:\n")).unwrap();
        let found = Modules::read(host.path()).finding("nf_of_a_test", None, "");
        assert_eq!(found.severity, Severity::Ok, "{found}");
    }

    #[test]
    fn an_old_kernel_is_told() {
        assert_eq!(release_of(Some((5, 5))).severity, Severity::Warn);
        assert_eq!(release_of(Some((6, 1))).severity, Severity::Ok);
    }
}
