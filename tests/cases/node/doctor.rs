//! `tripod-node doctor`, on a node with its agent.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::agent::{DUAL, Lab, node, with_net_admin_alone};
use super::restore::Site;

/// What it finds on the site's node: by its exit code whether pods can start, and each finding.
fn doctor(site: &Site) -> (bool, Vec<Value>) {
    doctor_as(site, Command::new(program("tripod-node")), &[])
}

/// The same by a command that ends in the program, and with more flags.
fn doctor_as(site: &Site, mut doctor: Command, extra: &[&str]) -> (bool, Vec<Value>) {
    let conflist = site.lab.conflist_path();
    let plugins = program("tripod-cni").parent().expect("a folder").to_owned();
    let host = site.lab.path("host");
    doctor.args(["doctor", "--json", "--conflist"]).arg(conflist);
    doctor.arg("--host-root").arg(host).arg("--cni-bin-dir").arg(plugins);
    doctor.args(extra);
    let output = site.lab.node.run(move || doctor.output().expect("the program"));
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), findings)
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn a_healthy_node_has_nothing_but_what_is_in_order() {
    let Some(site) = Site::new() else { return };
    let _pod = site.routed("web", json!([]));
    let (good, findings) = doctor(&site);
    assert!(good && findings.iter().all(|finding| finding["severity"] == "ok"), "{findings:#?}");
    assert_eq!(of(&findings, "attachment")[0]["evidence"], "1 of them, each with its link");
}

#[test]
fn what_takes_the_network_from_pods_is_named_with_a_fix() {
    let Some(site) = Site::new() else { return };
    let _pod = site.routed("web", json!([]));
    site.lab.node.sh(
        "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }'; \
         ip link del $(ip -br link | grep -o '^tp[0-9a-f]*')",
    );
    let (good, findings) = doctor(&site);
    assert!(good, "neither keeps a pod from starting: {findings:#?}");
    let [forward] = of(&findings, "forward")[..] else { panic!("{findings:#?}") };
    assert_eq!(forward["severity"], "warn");
    assert!(forward["object"].as_str().unwrap().contains("table ip filter"), "{forward}");
    let [attachment] = of(&findings, "attachment")[..] else { panic!("{findings:#?}") };
    assert!(attachment["object"].as_str().unwrap().contains("container web"), "{attachment}");
    assert!(attachment["fix"].as_str().unwrap().starts_with("delete the pod"), "{attachment}");
}

#[test]
fn a_peer_that_is_ignored_and_a_program_that_removes_routes_are_named_with_a_fix() {
    let Some(site) = Site::new() else { return };
    let spec = json!({"nodeUID": "9", "addresses": ["172.30.0.19"], "podCIDRs": ["192.168.9.0/24"],
        "vtepMAC": "02:00:00:00:00:09", "protocol": 1});
    let (version, name) = ("tripod.dev/v1alpha1", json!({"name": "n9"}));
    let object = json!({"apiVersion": version, "kind": "TripodNode", "metadata": name, "spec": spec});
    site.lab.cluster.set_tripod_node(object);
    std::fs::create_dir_all(site.lab.path("host/run/systemd/netif")).expect("a folder");
    let peers = |findings: &[Value]| of(findings, "peers").iter().map(|it| (*it).clone()).collect::<Vec<_>>();
    eventually("the agent ignores it", || peers(&doctor(&site).1)[0]["object"] == "n9");
    let (good, findings) = doctor(&site);
    assert!(good, "{findings:#?}");
    assert!(peers(&findings)[0]["fix"].as_str().unwrap().contains("tripodnode n9"), "{findings:#?}");
    let [program] = of(&findings, "network-program")[..] else { panic!("{findings:#?}") };
    assert!(program["fix"].as_str().unwrap().contains("ManageForeignRoutes=no"), "{program}");
}

#[test]
fn it_needs_no_more_rights_than_its_container_has() {
    let Some(site) = Site::new() else { return };
    let _pod = site.routed("web", json!([]));
    let account = site.lab.path("account");
    let account = ["--service-account-dir", account.to_str().expect("a path")];
    let (good, findings) = doctor_as(&site, with_net_admin_alone(), &account);
    assert!(good && findings.iter().all(|finding| finding["severity"] == "ok"), "{findings:#?}");
    for check in
        ["path", "clock", "token", "files", "kernel", "kubelet", "runtime", "device-plugin", "nftables"]
    {
        assert!(!of(&findings, check).is_empty(), "{check}: {findings:#?}");
    }
}

#[test]
fn a_clock_that_is_wrong_and_a_token_that_ends_are_told() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.set_clock_ahead(120);
    let site = Site::of(lab);
    // {"iat":1700000000,"exp":1700003600}, in a token that nobody signed.
    let token = "aGVhZA.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMzYwMH0.c2lnbmVk";
    std::fs::create_dir(site.lab.path("old")).expect("a folder");
    std::fs::write(site.lab.path("old/token"), token).expect("a file");
    let old = site.lab.path("old");
    let extra = ["--only", "agent", "--service-account-dir", old.to_str().expect("a path")];
    let (good, findings) = doctor_as(&site, Command::new(program("tripod-node")), &extra);
    assert!(good, "{findings:#?}");
    let [clock] = of(&findings, "clock")[..] else { panic!("{findings:#?}") };
    let evidence = clock["evidence"].as_str().expect("text");
    assert!(["119", "120", "121"].iter().any(|it| evidence.contains(&format!("{it} s behind"))), "{clock}");
    let [token] = of(&findings, "token")[..] else { panic!("{findings:#?}") };
    assert!(token["evidence"].as_str().expect("text").starts_with("it expired "), "{token}");
}

#[test]
fn a_runtime_that_does_not_take_the_conflist_keeps_pods_from_starting() {
    let Some(site) = Site::new() else { return };
    let mut object = node(&DUAL);
    let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady";
    object["status"]["conditions"] =
        json!([{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message}]);
    site.lab.cluster.set_node(Some(object));
    let runtime = || doctor_as(&site, Command::new(program("tripod-node")), &["--only", "runtime"]);
    eventually("the agent has heard of it", || !runtime().0);
    let findings = runtime().1;
    let failed: Vec<_> = findings.iter().filter(|it| it["severity"] == "fail").collect();
    let [failed] = failed[..] else { panic!("{findings:#?}") };
    assert!(failed["fix"].as_str().expect("text").contains("paths.cniConfDir"), "{failed}");
    // What comes before ours is in use in its place.
    std::fs::write(site.lab.path("net.d/05-other.conflist"), "{}").expect("a file");
    let findings = runtime().1;
    let [order] = of(&findings, "conflist-order")[..] else { panic!("{findings:#?}") };
    assert!(order["evidence"].as_str().expect("text").starts_with("05-other.conflist"), "{order}");
}

#[test]
fn links_and_addresses_that_nobody_has_are_told() {
    let Some(site) = Site::new() else { return };
    let pod = site.routed("web", json!([]));
    let look = || doctor_as(&site, Command::new(program("tripod-node")), &["--only", "attachments"]).1;
    assert_eq!(look()[0]["severity"], "ok");
    // As after a file system that lost it.
    site.lab.node.sh("rm /run/tripod/attachments/*.json");
    let findings = look();
    let [link] = of(&findings, "link")[..] else { panic!("{findings:#?}") };
    assert!(link["fix"].as_str().expect("text").contains("ip link del tp"), "{link}");
    let [lease] = of(&findings, "lease")[..] else { panic!("{findings:#?}") };
    assert!(lease["evidence"].as_str().expect("text").starts_with("2 addresses"), "{lease}");
    pod.del(&site);
    assert_eq!(look()[0]["severity"], "ok");
}

#[test]
fn a_kubelet_that_runs_is_asked_for_its_flags_and_its_start() {
    let Some(lab) = Lab::new() else { return };
    let (config, bin_dir) = (lab.path("providers.yaml"), lab.path("providers"));
    std::fs::create_dir(&bin_dir).expect("a folder");
    std::fs::copy("/bin/true", bin_dir.join("tripod-credential-provider")).expect("a program");
    let write =
        || std::fs::write(&config, "providers: [{name: tripod-credential-provider}]\n").expect("a file");
    write();
    let mut kubelet = Command::new("sh");
    std::os::unix::process::CommandExt::arg0(&mut kubelet, "/usr/bin/kubelet");
    kubelet.args(["-c", "sleep 600 & trap 'kill $!; exit' TERM; echo; wait"]);
    kubelet.arg(format!("--image-credential-provider-config={}", config.display()));
    kubelet.arg("--image-credential-provider-bin-dir").arg(&bin_dir);
    let mut kubelet = kubelet.stdout(std::process::Stdio::piped()).spawn().expect("a shell");
    let mut begun = [0];
    std::io::Read::read_exact(kubelet.stdout.as_mut().expect("a pipe"), &mut begun).expect("it has begun");
    // The machine may have others.
    let told = || {
        let mut doctor = Command::new(program("tripod-node"));
        let output = doctor.args(["doctor", "--json", "--only", "kubelet"]).output().expect("the program");
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("findings");
        let ours = |it: &Value| it.to_string().contains(config.to_str().expect("a path"));
        findings.into_iter().filter(ours).collect::<Vec<_>>()
    };
    let [found] = &told()[..] else { panic!("{:#?}", told()) };
    assert_eq!(found["severity"], "ok", "{found}");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    write();
    std::fs::File::options().write(true).open(&config).expect("a file").set_modified(later).expect("a time");
    let [found] = &told()[..] else { panic!("{:#?}", told()) };
    assert!(found["evidence"].as_str().expect("text").starts_with("it was changed at "), "{found}");
    let pid = nix::unistd::Pid::from_raw(kubelet.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is ours");
    kubelet.wait().expect("it ends");
}

#[test]
fn labels_are_shown_where_they_are_enforced() {
    let Some(site) = Site::new() else { return };
    let host = site.lab.path("host/sys/fs/selinux");
    std::fs::create_dir_all(&host).expect("a folder");
    let label = "python3 -c 'import os, sys; os.setxattr(sys.argv[1], \"security.selinux\", b\"system_u:object_r:etc_t:s0\\0\")'";
    site.lab.node.sh(&format!("{label} {}", site.lab.conflist_path().display()));
    let shown = || {
        let findings = doctor_as(&site, Command::new(program("tripod-node")), &["--only", "files"]).1;
        findings.iter().any(|it| it["evidence"].as_str().is_some_and(|text| text.contains("object_r:etc_t")))
    };
    std::fs::write(host.join("enforce"), "0").expect("a file");
    assert!(!shown());
    std::fs::write(host.join("enforce"), "1").expect("a file");
    assert!(shown());
}

#[test]
fn a_node_without_its_conflist_cannot_start_pods() {
    let output = Command::new(program("tripod-node"))
        .args(["doctor", "--conflist", "/nowhere/10-tripod.conflist", "--state-dir", "/nowhere"])
        .output()
        .expect("the program");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("FAIL  conflist") && told.contains("fix: look for what the agent waits for"),
        "{told}"
    );
}

#[test]
fn a_network_program_is_seen_by_its_socket_where_its_files_are_not() {
    let Some(site) = Site::new() else { return };
    let path = "/run/systemd/netif/io.systemd.Network";
    site.lab.node.sh("mkdir -p /run/systemd/netif");
    let _socket = site.lab.node.run(move || UnixListener::bind(path).expect("a socket"));
    // Whoever binds one names it as they like, and hides no other.
    let odd = std::ffi::OsStr::from_bytes(b"/run/\xff.sock");
    let _odd = site.lab.node.run(move || UnixListener::bind(odd).expect("a socket"));
    let (good, findings) = doctor_as(&site, Command::new(program("tripod-node")), &["--only", "kernel"]);
    let [networkd] = of(&findings, "network-program")[..] else { panic!("{findings:#?}") };
    assert!(good && networkd["object"] == "systemd-networkd" && networkd["severity"] == "ok", "{networkd}");
    assert!(networkd["fix"].as_str().unwrap().contains("ManageForeignRoutes=no"), "{networkd}");
}
