//! Calls that succeed.

use serde_json::{Value, json};

use super::plugin::{Plugin, addresses, pod_sandbox, used_site};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

pub(super) fn pods_reach_each_other_and_the_node(plugin: &Plugin) {
    let site = used_site(plugin);
    let sandboxes = [pod_sandbox(), pod_sandbox()];
    let [one, two] = [("c1", &sandboxes[0]), ("c2", &sandboxes[1])]
        .map(|(container, sandbox)| addresses(&plugin.attach(&site, sandbox, container)));
    for (from, to) in [(&sandboxes[0], &two), (&sandboxes[1], &one)] {
        for address in to.iter().map(String::as_str).chain(["192.0.2.9", "2001:db8::9"]) {
            from.sh(&format!("ping -c1 -W2 {address}"));
        }
        for address in to {
            site.node().sh(&format!("ping -c1 -W2 {address}"));
        }
    }
}

pub(super) fn every_version_has_its_shape(plugin: &Plugin) {
    let site = used_site(plugin);
    let before = site.footprint();
    for version in VERSIONS {
        let sandbox = pod_sandbox();
        let mut conf = plugin.dual(version);
        let added = plugin.call("ADD", &conf).netns(&sandbox.path()).run(site.node()).ok();
        assert_eq!(added["cniVersion"], version, "{added}");
        has_shape(version, &added);
        conf["prevResult"] = added;
        if version >= "0.4.0" {
            plugin.call("CHECK", &conf).netns(&sandbox.path()).run(site.node()).silent();
        }
        plugin.call("DEL", &conf).netns(&sandbox.path()).run(site.node()).silent();
        assert_eq!(site.footprint(), before, "{version}");
    }
}

/// As the specification of that version says.
fn has_shape(version: &str, added: &Value) {
    if version < "0.3.0" {
        assert!(added["ip4"]["ip"].is_string() && added["ip6"]["ip"].is_string(), "{added}");
        assert!(added["ips"].is_null() && added["interfaces"].is_null(), "{added}");
        return;
    }
    for ip in added["ips"].as_array().expect("addresses") {
        let family = if ip["address"].as_str().expect("an address").contains(':') { "6" } else { "4" };
        let wanted = if version < "1.0.0" { json!(family) } else { Value::Null };
        assert_eq!(ip["version"], wanted, "{added}");
        let interface = &added["interfaces"][ip["interface"].as_u64().expect("an index") as usize];
        assert_eq!(interface["name"], "eth0", "{added}");
        assert!(interface["sandbox"].is_string() && interface["mac"].is_string(), "{added}");
    }
    assert_eq!(added["ips"].as_array().map(Vec::len), Some(2), "{added}");
}

pub(super) fn check_passes_until_something_is_lost(plugin: &Plugin) {
    let losses = [
        ("ip address flush dev eth0 scope global", "its addresses"),
        ("ip route flush default", "its default routes"),
        ("ip link del eth0", "its interface"),
    ];
    for (loss, what) in losses {
        let site = used_site(plugin);
        let sandbox = pod_sandbox();
        let mut conf = plugin.dual("1.1.0");
        conf["prevResult"] = plugin.attach(&site, &sandbox, "c1");
        let check = plugin.call("CHECK", &conf).netns(&sandbox.path());
        check.clone().run(site.node()).silent();
        sandbox.sh(&format!("{loss}; ip -6 route flush default 2>/dev/null; true"));
        let (code, text) = check.clone().run(site.node()).failed();
        assert!(!text.is_empty(), "{what}");
        // The reference has one code for whatever it finds.
        assert!(!plugin.is_ours() || code == 106, "{what}: {code} {text}");
    }
}

pub(super) fn del_leaves_nothing(plugin: &Plugin) {
    let site = used_site(plugin);
    let before = site.footprint();
    let conf = plugin.dual("1.1.0");
    let del = || plugin.call("DEL", &conf);

    let sandbox = pod_sandbox();
    plugin.attach(&site, &sandbox, "c1");
    assert_ne!(site.footprint(), before);
    for _ in 0..2 {
        del().netns(&sandbox.path()).run(site.node()).silent();
        assert_eq!(site.footprint(), before);
    }

    // A runtime without a memory has no result to give either; the sandbox went first, with its path.
    let sandbox = pod_sandbox();
    plugin.attach(&site, &sandbox, "c1");
    drop(sandbox);
    crate::eventually("the kernel has taken the link away", || {
        plugin.is_ours() || !site.node().sh("ip -br link").contains("veth")
    });
    del().env("CNI_NETNS", "").run(site.node()).silent();
    assert_eq!(site.footprint(), before);

    // A path that leads nowhere any more.
    del().env("CNI_NETNS", "/run/netns/gone").run(site.node()).silent();
    assert_eq!(site.footprint(), before);

    if plugin.is_ours() {
        // An empty path with the sandbox still there: the reference releases the addresses and leaves a
        // link with them behind, which another pod may then be given as well.
        let sandbox = pod_sandbox();
        plugin.attach(&site, &sandbox, "c1");
        del().env("CNI_NETNS", "").run(site.node()).silent();
        assert_eq!(site.footprint(), before);
    }
}

pub(super) fn gc_goes_by_the_list(plugin: &Plugin) {
    let site = used_site(plugin);
    let conf = plugin.dual("1.1.0");
    let gc = |valid: Option<Value>| {
        let mut conf = conf.clone();
        if let Some(valid) = valid {
            conf["cni.dev/valid-attachments"] = valid;
        }
        plugin.call("GC", &conf).without("CNI_CONTAINERID").without("CNI_IFNAME").run(site.node()).silent();
    };
    plugin.call("STATUS", &conf).without("CNI_CONTAINERID").without("CNI_IFNAME").run(site.node()).silent();
    let before = site.footprint();
    let sandboxes = [pod_sandbox(), pod_sandbox()];
    plugin.attach(&site, &sandboxes[0], "c1");
    let one = site.footprint();
    gc(None);
    gc(Some(json!([{"containerID": "c1", "ifname": "eth0"}])));
    assert_eq!(site.footprint(), one);
    plugin.attach(&site, &sandboxes[1], "c2");
    if plugin.is_ours() {
        // The reference takes the call and does nothing. Ours is for the runtime that has lost its memory
        // of an attachment, and so cannot delete it by name.
        gc(Some(json!([{"containerID": "c1", "ifname": "eth0"}])));
        assert_eq!(site.footprint(), one);
        gc(Some(Value::Null));
        assert_eq!(site.footprint(), before);
    }
}
