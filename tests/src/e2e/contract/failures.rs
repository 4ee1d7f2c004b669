//! Calls that fail.

use serde_json::{Value, json};

use super::plugin::{Plugin, addresses, pod_sandbox, used_site};
use crate::e2e::site::Site;
use crate::exec::Call;

/// Runs `call`, which must fail and change nothing. Its code and its message.
fn refused(site: &Site, call: Call) -> (u64, String) {
    let before = site.footprint();
    let (code, text) = call.run(site.node()).failed();
    assert_eq!(site.footprint(), before, "{text}");
    (code, text)
}

pub(super) fn a_second_add_is_refused(plugin: &Plugin) {
    let site = used_site(plugin);
    let sandbox = pod_sandbox();
    let mut conf = plugin.dual("1.1.0");
    let added = plugin.attach(&site, &sandbox, "c1");
    let again = plugin.call("ADD", &conf).netns(&sandbox.path());
    let (code, text) = refused(&site, again);
    // The reference finds the lease first and has no code for it.
    assert!(!plugin.is_ours() || code == 103, "{code} {text}");
    for address in addresses(&added) {
        site.node().sh(&format!("ping -c1 -W2 {address}"));
    }
    conf["prevResult"] = added;
    plugin.call("CHECK", &conf).netns(&sandbox.path()).run(site.node()).silent();
}

pub(super) fn a_failed_add_leaves_nothing(plugin: &Plugin) {
    let site = used_site(plugin);
    let (one, two) = (pod_sandbox(), pod_sandbox());
    let mut small = plugin.conf("1.1.0", &["fd00:2::/64", "10.2.0.0/30"]);
    small["name"] = json!("small");
    plugin.call("ADD", &small).container("c1").netns(&one.path()).run(site.node()).ok();
    let (code, text) = refused(&site, plugin.call("ADD", &small).container("c2").netns(&two.path()));
    // A runtime is to try again, which the reference does not say.
    assert!(!plugin.is_ours() || code == 11, "{code} {text}");

    let taken = pod_sandbox();
    taken.sh("ip link add eth0 type veth peer name other");
    let (_, text) = refused(&site, plugin.call("ADD", &plugin.dual("1.1.0")).netns(&taken.path()));
    assert!(text.contains("eth0"), "{text}");
    assert_eq!(taken.json("ip -j link").as_array().map(Vec::len), Some(3));

    let nowhere = plugin.call("ADD", &plugin.dual("1.1.0")).env("CNI_NETNS", "/run/netns/gone");
    let (_, text) = refused(&site, nowhere);
    assert!(text.contains("/run/netns/gone"), "{text}");

    // As a runtime does after an ADD that failed.
    for container in ["c2", "c3"] {
        plugin.call("DEL", &small).container(container).netns(&two.path()).run(site.node()).silent();
    }
    plugin.call("DEL", &small).container("c1").netns(&one.path()).run(site.node()).silent();
}

pub(super) fn errors_are_told(plugin: &Plugin) {
    let site = used_site(plugin);
    let sandbox = pod_sandbox();
    let call = |verb: &str, conf: &Value| plugin.call(verb, conf).netns(&sandbox.path());
    let add = || call("ADD", &plugin.dual("1.1.0"));
    for variable in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"] {
        let (code, text) = refused(&site, add().without(variable));
        assert!(code == 4 && text.contains(variable), "{code} {text}");
    }
    for (variable, value) in [("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "much-too-long-a-name")] {
        assert_eq!(refused(&site, add().env(variable, value)).0, 4, "{variable}");
    }
    assert_eq!(refused(&site, add().stdin(b"{")).0, 6);
    assert_eq!(refused(&site, call("ADD", &plugin.dual("9.9.9"))).0, 1);
    for (verb, version) in [("CHECK", "0.3.1"), ("STATUS", "1.0.0"), ("GC", "1.0.0")] {
        assert_eq!(refused(&site, call(verb, &plugin.dual(version))).0, 1, "{verb} {version}");
    }
    for (pointer, value) in [
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.0/240")),
        ("/ipam/ranges", json!([])),
        ("/name", json!("no/name")),
    ] {
        let mut conf = plugin.dual("1.1.0");
        *conf.pointer_mut(pointer).expect("the key") = value;
        let (code, text) = refused(&site, call("ADD", &conf));
        // The reference has a code of its own only for what its library checks before it runs.
        assert!(!plugin.is_ours() || code == 7, "{pointer}: {code} {text}");
    }
}
