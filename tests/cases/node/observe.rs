//! What an agent shows of itself: metrics, its status, and events.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::program;

use super::agent::{DUAL, Lab, node};
use super::restore::Site;

/// What the node's own address answers to a reader of metrics.
fn metrics(lab: &Lab) -> String {
    let request = "GET /metrics HTTP/1.1\\r\\nHost: n1\\r\\n\\r\\n";
    let script = format!("exec 3<>/dev/tcp/172.30.0.11/9675 && printf '{request}' >&3 && cat <&3");
    lab.node.sh(&format!("bash -c \"{script}\" 2>/dev/null || true"))
}

fn status(lab: &Lab, words: &'static [&str]) -> Output {
    lab.node.run(move || {
        Command::new(program("tripod-node")).arg("status").args(words).output().expect("the program runs")
    })
}

fn reasons(lab: &Lab) -> Vec<String> {
    let reason = |event: &Value| event["reason"].as_str().unwrap_or_default().to_owned();
    lab.cluster.written_events().iter().map(reason).collect()
}

#[test]
fn calls_of_the_plugin_and_the_state_of_the_node_are_counted() {
    let Some(site) = Site::new() else { return };
    eventually("metrics are served", || metrics(&site.lab).contains("200 OK"));
    // Once the plugin's reports find somebody.
    eventually("the agent listens", || site.lab.node.sh("ls /run/tripod").contains("agent.sock"));
    let _pod = site.routed("web", json!([]));
    for line in [
        r#"tripod_cni_operations_total{op="ADD",result="ok",code="0"} 1"#,
        r#"tripod_state{component="net",state="ready"} 1"#,
        r#"tripod_ipam_addresses{family="ipv4",state="leased"} 1"#,
        r#"tripod_ipam_addresses{family="ipv6",state="leased"} 1"#,
        "tripod_attachments 1",
        "tripod_dirty_oldest_seconds 0.0",
    ] {
        eventually(line, || metrics(&site.lab).contains(line));
    }
    assert!(!metrics(&site.lab).contains("web"), "no pod is named");
    site.lab.node.run(|| {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(&[b'{'; 4096], "/run/tripod/agent.sock").expect("the agent listens");
    });
    eventually("what is too long is dropped", || {
        metrics(&site.lab).contains("tripod_telemetry_dropped_total 1")
    });
}

#[test]
fn questions_for_credentials_are_counted() {
    let Some(site) = Site::new() else { return };
    eventually("the agent listens", || site.lab.node.sh("ls /run/tripod").contains("agent.sock"));
    let (config, auth) = (site.lab.path("credentials.yaml"), site.lab.path("auth.json"));
    std::fs::write(&auth, r#"{"auths": {"registry.example.com": {"auth": "cm9ib3Q6aHVudGVyMg=="}}}"#)
        .expect("a file");
    std::fs::set_permissions(&auth, Permissions::from_mode(0o600)).expect("its mode");
    let entry = format!("match: [registry.example.com], provider: docker-config, file: {}", auth.display());
    std::fs::write(&config, format!("version: v1\nregistries: [{{{entry}}}]\n")).expect("a file");
    let ask = |image: &str| {
        let request = json!({"kind": "CredentialProviderRequest", "image": image,
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1"});
        let mut command = Command::new(program("tripod-credential-provider"));
        command
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        site.lab.node.run(move || {
            let mut child = command.spawn().expect("the program runs");
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(request.to_string().as_bytes()).expect("it reads");
            drop(stdin);
            child.wait().expect("it ends").success()
        })
    };
    assert!(ask("registry.example.com/app"));
    assert!(!ask("elsewhere.example.com/app"));
    for labels in [r#"provider="docker-config",result="ok""#, r#"provider="none",result="error""#] {
        let line = format!("tripod_credprov_requests_total{{{labels},cache=\"miss\"}} 1");
        eventually(&line, || metrics(&site.lab).contains(&line));
    }
}

#[test]
fn a_bundle_for_others_explains_the_node_and_holds_no_secret() {
    let Some(site) = Site::new() else { return };
    let api = super::agent::API;
    let text = format!("version: v1\napiServers: [\"https://me:hunter2@{api}\"] # 0ld\ntoken: s3cr3t\n");
    std::fs::write(site.lab.path("planted.yaml"), text).expect("a file");
    let (config, conflist) = (site.lab.path("planted.yaml"), site.lab.conflist_path());
    let output = site.lab.node.run(move || {
        let mut collect = Command::new(program("tripod-node"));
        collect.arg("collect").arg("--config").arg(config).arg("--conflist").arg(conflist);
        collect.env("REGISTRY_PASSWORD", "pa55").output().expect("the program")
    });
    let text = String::from_utf8_lossy(&output.stdout);
    for secret in ["hunter2", "s3cr3t", "pa55", "0ld", "a-token-of"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let bundle: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&bundle["status"]["ready"], &bundle["conflist"]["name"]), (&json!(true), &json!("tripod")));
    assert!(bundle["metrics"].as_str().expect("text").contains("tripod_state"), "{text}");
    assert!(bundle["kernel"]["links"].to_string().contains("uplink"), "{text}");
}

#[test]
fn its_status_ends_well_only_when_pods_have_their_network() {
    let Some(lab) = Lab::new() else { return };
    let asked = status(&lab, &[]);
    assert!(!asked.status.success() && String::from_utf8_lossy(&asked.stderr).contains("is container"));
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&[])));
    let _agent = lab.agent();
    eventually("the agent waits", || {
        let asked = status(&lab, &[]);
        !asked.status.success()
            && String::from_utf8_lossy(&asked.stdout).contains("waiting for spec.podCIDRs")
    });
    lab.cluster.set_node(Some(node(&DUAL)));
    lab.wait_until_ready();
    eventually("the status says so too", || status(&lab, &[]).status.success());
    let told: Value = serde_json::from_slice(&status(&lab, &["--json"]).stdout).expect("JSON");
    assert_eq!(
        (&told["phase"], &told["node"], &told["configGeneration"]),
        (&json!("ready"), &json!("n1"), &json!(1))
    );
    assert_eq!(told["podCIDRs"], json!(DUAL));
    let v4 = json!({"family": "ipv4", "leased": 0, "cooling": 0, "free": 253});
    assert_eq!(told["leases"][0], v4);
    lab.configure("version: v1\nbackend: vxlan\nclusterCIDRs: [10.244.0.0/16, fd00:10:244::/48]\n");
    eventually("the changed configuration is applied", || {
        let told = status(&lab, &["--json"]).stdout;
        serde_json::from_slice::<Value>(&told).expect("JSON")["configGeneration"] == 2
    });
}

#[test]
fn what_an_admin_should_see_is_an_event_once() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.cluster.set_node(Some(node(&[])));
    let agent = lab.agent();
    eventually("missing CIDRs are told", || reasons(&lab) == ["PodCIDRMissing"]);
    drop(agent);
    lab.cluster.set_node(Some(node(&DUAL)));
    std::fs::create_dir_all(lab.path("net.d")).expect("a folder");
    std::fs::write(lab.path("net.d/00-other.conflist"), "{}").expect("a file");
    let mut outside =
        json!({"apiVersion": "tripod.dev/v1alpha1", "kind": "TripodNode", "metadata": {"name": "n9"}});
    outside["spec"] = json!({"nodeUID": "u9", "addresses": ["172.30.0.19"], "podCIDRs": ["192.168.9.0/24"],
        "vtepMAC": tripod_node::mac::Mac::of_node("u9"), "protocol": 1});
    lab.cluster.set_tripod_node(outside);
    lab.node.sh(
        "nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }'",
    );
    let _agent = lab.agent();
    lab.wait_until_ready();
    let expected = ["ForeignCNIPreempts", "ForwardDropDetected", "PeerIgnored", "PodCIDRMissing"];
    let sorted = || {
        let mut reasons = reasons(&lab);
        reasons.sort();
        reasons
    };
    eventually("each is told", || sorted() == expected);
    // Many looks later it is still told once.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(sorted(), expected);
    let events = lab.cluster.written_events();
    for event in &events {
        assert_eq!(
            (&event["regarding"]["kind"], &event["regarding"]["name"]),
            (&json!("Node"), &json!("n1"))
        );
    }
    let ignored = events.iter().find(|event| event["reason"] == "PeerIgnored").expect("an event");
    assert!(ignored["note"].as_str().expect("text").contains("192.168.9.0/24"), "{ignored}");
}

#[test]
fn what_keeps_pods_or_peers_without_a_network_is_an_event_too() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.wire();
    lab.configure("version: v1\nbackend: direct\nclusterCIDRs: [10.244.0.0/16]\n");
    lab.cluster.set_node(Some(node(&["10.244.1.0/29"])));
    lab.cluster.set_tripod_node(json!({
        "apiVersion": "tripod.dev/v1alpha1", "kind": "TripodNode", "metadata": {"name": "n9"},
        "spec": {"nodeUID": "u9", "addresses": ["203.0.113.9"], "podCIDRs": ["10.244.9.0/29"],
            "vtepMAC": tripod_node::mac::Mac::of_node("u9"), "protocol": 1}}));
    let _agent = lab.agent();
    lab.wait_until_ready();
    let note = |reason: &str| {
        let events = lab.cluster.written_events();
        let event = events.iter().find(|event| event["reason"] == reason)?;
        Some(event["note"].as_str().expect("text").to_owned())
    };
    let told = |reason: &'static str| {
        eventually(reason, || note(reason).is_some());
        note(reason).expect("it was there")
    };
    let unlinked = told("PeerUnlinked");
    assert!(unlinked.contains("n9") && unlinked.contains("203.0.113.9"), "{unlinked}");

    let list: Value = serde_json::from_str(&lab.conflist()).expect("a conflist");
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = json!("1.1.0");
    // Five addresses: eight without network, gateway and broadcast.
    let sandboxes: Vec<_> = (0..6).map(|_| Namespace::sandbox()).collect();
    let codes: Vec<_> = sandboxes
        .iter()
        .zip(0..)
        .map(|(sandbox, number)| {
            let call = Call::new("ADD", &conf).container(&format!("c{number}")).netns(&sandbox.path());
            call.run(&lab.node).code()
        })
        .collect();
    assert_eq!(codes, [None, None, None, None, None, Some(11)]);
    let exhausted = told("IPExhausted");
    assert!(exhausted.contains("10.244.1.0/29"), "{exhausted}");

    std::fs::remove_file(lab.path("net.d/10-tripod.conflist")).expect("a file");
    std::fs::create_dir(lab.path("net.d/10-tripod.conflist")).expect("a folder in its place");
    let failed = told("ReconcileFailed");
    assert!(failed.contains("10-tripod.conflist"), "{failed}");
}

#[test]
fn what_is_not_installed_is_told_by_the_agent_at_once() {
    let Some(lab) = Lab::new() else { return };
    let _api = lab.api_server();
    lab.wire();
    lab.cluster.set_node(Some(node(&DUAL)));
    let report = lab.path("report/files.json");
    let write = |state: &str, why: &str| {
        let plugin = json!({"path": "/opt/cni/bin/tripod-cni", "state": state, "why": why});
        std::fs::write(&report, json!([plugin]).to_string()).expect("a file");
    };
    let path = report.display().to_string();
    let _agent = lab.agent_with(&["--resync", "86400", "--install-report", &path]);
    lab.wait_until_ready();
    std::fs::create_dir(lab.path("report")).expect("a folder");
    write("current", "");
    let current = |value: u8| format!("tripod_install_current{{file=\"tripod-cni\"}} {value}");
    eventually("it is current", || metrics(&lab).contains(&current(1)));
    write("failed", "no space left");
    eventually("it is not", || metrics(&lab).contains(&current(0)));
    eventually("it is an event", || reasons(&lab) == ["InstallFailed"]);
    let told = String::from_utf8(status(&lab, &[]).stdout).expect("text");
    assert!(told.contains("failed /opt/cni/bin/tripod-cni: no space left"), "{told}");
}
