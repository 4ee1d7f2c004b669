//! `tripod-node uninstall`, on a node that an agent has prepared.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tripod_tests::daemon::Daemon;
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::names;
use super::restore::Site;

/// What an administrator and other software keep in the same folders.
const FOREIGN: [(&str, &str); 6] = [
    ("cni/bin/bridge", "the reference plugin"),
    ("net.d/87-podman.conflist", "{}"),
    ("etc/password", "secret"),
    ("cdi/nvidia.json", "{\"kind\": \"nvidia.com/gpu\"}"),
    ("cdi/tripod-mine.json", "{\"kind\": \"example.com/serial\"}"),
    ("credential/ecr", "another provider"),
];

/// A node with everything of ours, and with routes to a peer; its agent has ended.
fn site() -> Option<Site> {
    let mut site = Site::new()?;
    site.agent.terminate();
    site.lab.node.sh("ip route add 10.244.9.0/24 via 172.30.0.12 dev uplink onlink proto 84; \
         ip rule add from 10.244.1.0/24 table 84 priority 30084 protocol 84; \
         ip link add tripod4 type vxlan id 84 dstport 8472 local 172.30.0.11; \
         ip link add tripod6 type bridge; ip route add 10.99.0.0/24 dev uplink proto 85");
    fill(&site);
    Some(site)
}

fn fill(site: &Site) {
    for (name, content) in FOREIGN.into_iter().chain([
        ("cni/bin/tripod-cni", "the plugin"),
        ("cni/bin/.tripod.tripod-cni.77", "half"),
        ("etc/node.yaml", "version: v1"),
        ("etc/device-plugin.yaml", "version: v1"),
        ("etc/credential-provider.yaml", "version: v1"),
        ("cdi/tripod-example.com-serial.json", "{\"kind\": \"example.com/serial\"}"),
        ("credential/tripod-credential-provider", "the provider"),
        ("proc/77/cmdline", "/usr/bin/kubelet\0--v=2"),
        ("proc/77/status", "NSpid:\t77\n"),
    ]) {
        let path = site.lab.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    for link in ["loopback", "tripod-ipam"] {
        symlink("tripod-cni", site.lab.path("cni/bin").join(link)).expect("a link");
    }
}

fn command(site: &Site, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("uninstall").arg("--conflist").arg(site.lab.conflist_path());
    for (flag, folder) in [
        ("--cni-bin-dir", "cni/bin"),
        ("--credential-bin-dir", "credential"),
        ("--etc-dir", "etc"),
        ("--cdi-dir", "cdi"),
        ("--proc-root", "proc"),
    ] {
        command.arg(flag).arg(site.lab.path(folder));
    }
    command
}

fn run(site: &Site, mut command: Command) -> Output {
    site.lab.node.run(move || command.output().expect("the program"))
}

/// Uninstalls once: whether the exit code is 0, and every object.
fn uninstall(site: &Site) -> (bool, Vec<Value>) {
    let mut command = command(site, &program("tripod-node"));
    command.arg("--json");
    let output = run(site, command);
    let objects = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), objects)
}

fn of<'a>(objects: &'a [Value], end: &str) -> &'a Value {
    let found = objects.iter().find(|one| one["object"].as_str().is_some_and(|name| name.ends_with(end)));
    found.unwrap_or_else(|| panic!("{end} is not in {objects:#?}"))
}

/// What is left of us in the kernel.
fn kernel(site: &Site) -> String {
    site.lab.node.sh(
        "ip route show proto 84 table all; ip -6 route show proto 84 table all; ip rule | grep 'proto 84'; \
         ip -br link show type vxlan; nft list tables | grep tripod; true",
    )
}

fn assert_gone(site: &Site) {
    assert_eq!(kernel(site), "");
    let files = ["cni/bin", "net.d", "etc", "cdi", "credential"].map(|folder| names(&site.lab.path(folder)));
    let left = [
        &["bridge"][..],
        &["87-podman.conflist"],
        &["password"],
        &["nvidia.json", "tripod-mine.json"],
        &["ecr"],
    ];
    assert_eq!(files, left.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>()));
    for (name, content) in FOREIGN {
        assert_eq!(fs::read_to_string(site.lab.path(name)).unwrap(), content);
    }
    assert_eq!(site.lab.node.sh("ls -A /run/tripod"), "");
    // A link of that name and another kind, and a route of another protocol.
    site.lab.node.sh("ip link show tripod6 && ip route show proto 85 | grep 10.99.0.0/24");
}

#[test]
fn a_running_pod_keeps_its_network_until_it_is_deleted() {
    let Some(site) = site() else { return };
    let pod = site.routed("web", json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]));
    let before = kernel(&site);
    let (good, objects) = uninstall(&site);
    assert!(good, "{objects:#?}");
    assert_eq!(of(&objects, "10-tripod.conflist")["outcome"], "done");
    assert!(!site.lab.conflist_path().exists());
    assert_eq!(site.lab.node.sh("ls /run/tripod"), "attachments\nipam\n");
    assert_eq!(kernel(&site), before);
    for kept in
        ["nftables table inet tripod", "routes of protocol 84", "cni/bin/tripod-cni", "cni/bin/loopback"]
    {
        let object = of(&objects, kept);
        let reason = object["reason"].as_str().unwrap_or_default();
        assert!(object["outcome"] == "kept" && reason.contains("shop/web"), "{object}");
    }
    pod.sandbox.sh("ping -c 1 -W 5 172.30.0.11 && ping -c 1 -W 5 fd00:30::11");
    pod.del(&site);
    let (good, objects) = uninstall(&site);
    assert!(good, "{objects:#?}");
    assert_gone(&site);
    assert_eq!(of(&objects, "tripod6")["outcome"], "kept");
    assert_eq!(uninstall(&site), (true, objects));
}

#[test]
fn who_stays_is_ready_once_the_last_pod_is_gone() {
    let Some(site) = site() else { return };
    let _pod = site.routed("web", json!([]));
    let mut stay = command(&site, &program("tripod-node"));
    stay.arg("--stay");
    let mut stay = Daemon::start_on(&site.lab.node, stay);
    eventually("it waits", || site.lab.probe("/readyz").contains("shop/web"));
    assert!(site.lab.probe("/readyz").contains(" 503 ") && site.lab.probe("/livez").contains(" 200 OK"));
    assert!(site.lab.path("cni/bin/tripod-cni").exists() && !site.lab.conflist_path().exists());
    // The sandbox ends without a DEL, as with a runtime that has no conflist any more.
    site.lab.node.sh("ip link del $(ip -br link | grep -o '^tp[0-9a-f]*')");
    site.lab.wait_until_ready();
    assert_gone(&site);
    assert!(stay.is_running());
    assert!(stay.terminate().success());
}

/// Killed before each system call that removes something, it finds its way from there.
#[test]
fn whoever_was_killed_begins_again() {
    let Some(site) = site() else { return };
    let _gone = site.routed("web", json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]));
    site.lab.node.sh("ip link del $(ip -br link | grep -o '^tp[0-9a-f]*')");
    let mut kills = 0;
    for calls in ["unlinkat", "unlink", "fsync", "sendto"] {
        for number in 1..=3 {
            let mut killed = command(&site, Path::new("strace"));
            let inject = format!("inject={calls}:signal=KILL:when={number}");
            let words: Vec<_> = killed.get_args().map(ToOwned::to_owned).collect();
            killed = Command::new("strace");
            killed
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
                .arg(program("tripod-node"))
                .args(words);
            kills += u32::from(!run(&site, killed).status.success());
        }
    }
    assert!(kills >= 6, "only {kills} runs were killed");
    let (good, objects) = uninstall(&site);
    assert!(good, "{objects:#?}");
    assert_gone(&site);
}

#[test]
fn what_is_not_ours_stays_and_what_may_be_needed_too() {
    let Some(site) = site() else { return };
    fs::write(site.lab.conflist_path(), "{\"plugins\": [{\"type\": \"calico\"}]}").unwrap();
    fs::remove_file(site.lab.path("cni/bin/loopback")).unwrap();
    fs::write(site.lab.path("cni/bin/loopback"), "the reference plugin").unwrap();
    fs::remove_dir_all(site.lab.path("proc/77")).unwrap();
    let (good, objects) = uninstall(&site);
    assert!(good, "{objects:#?}");
    for (end, reason) in [
        ("10-tripod.conflist", "not ours"),
        ("cni/bin/loopback", "not ours"),
        ("cdi/tripod-mine.json", "not ours"),
        ("credential/tripod-credential-provider", "no kubelet can be seen"),
        ("etc/credential-provider.yaml", "no kubelet can be seen"),
    ] {
        let object = of(&objects, end);
        assert!(
            object["outcome"] == "kept" && object["reason"].as_str().unwrap().contains(reason),
            "{object}"
        );
    }
    assert!(site.lab.conflist().contains("calico"));
    for name in ["cni/bin/loopback", "credential/tripod-credential-provider", "etc/credential-provider.yaml"]
    {
        assert!(site.lab.path(name).exists(), "{name}");
    }
    assert!(!site.lab.path("cni/bin/tripod-cni").exists() && !site.lab.path("etc/node.yaml").exists());
}

#[test]
fn a_failure_is_told_and_is_in_no_others_way() {
    let Some(site) = site() else { return };
    fs::set_permissions(site.lab.path("etc"), fs::Permissions::from_mode(0o777)).unwrap();
    let (good, objects) = uninstall(&site);
    assert!(!good);
    let object = of(&objects, "etc/node.yaml");
    assert_eq!(object["outcome"], "failed");
    assert!(object["reason"].as_str().unwrap().contains("run chmod go-w on it"), "{object}");
    assert!(!site.lab.path("cni/bin/tripod-cni").exists());
    let table = run(&site, command(&site, &program("tripod-node")));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.lines().any(|line| line.starts_with("failed") && line.contains("etc/node.yaml")),
        "{table}"
    );
    fs::set_permissions(site.lab.path("etc"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(uninstall(&site).0);
    assert_gone(&site);
}

/// Another main plugin may have its addresses from `tripod-ipam`.
#[test]
fn leases_of_other_plugins_stay() {
    let Some(site) = site() else { return };
    let gone = site.routed("web", json!([]));
    site.lab.node.sh("mkdir -p /run/tripod/ipam/theirs && echo id > /run/tripod/ipam/theirs/10.9.0.2");
    gone.del(&site);
    let (good, objects) = uninstall(&site);
    assert!(good, "{objects:#?}");
    let object = of(&objects, "/run/tripod/ipam");
    assert!(
        object["reason"].as_str().is_some_and(|reason| reason.contains("addresses of theirs")),
        "{object}"
    );
    assert_eq!(site.lab.node.sh("find /run/tripod -type f"), "/run/tripod/ipam/theirs/10.9.0.2\n");
    for program in ["tripod-ipam", "tripod-cni"] {
        let object = of(&objects, &format!("/{program}"));
        assert_eq!(object["reason"], "pods of other plugins have addresses by it", "{object}");
    }
    site.lab.node.sh("rm /run/tripod/ipam/theirs/10.9.0.2");
    assert!(uninstall(&site).0);
    assert_gone(&site);
}
