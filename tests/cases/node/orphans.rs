//! Attachments whose link went behind everybody's back: the agent releases them after a grace, and nothing
//! else.

use std::time::Duration;

use serde_json::{Value, json};
use tripod_tests::eventually;

use super::restore::Site;

fn port(number: u16) -> Value {
    json!([{"hostPort": number, "containerPort": 80, "protocol": "tcp"}])
}

/// A node whose agent looks each second and is patient for `grace` seconds.
fn site(grace: &str) -> Option<Site> {
    let mut site = Site::new()?;
    site.agent.terminate();
    site.agent = site.lab.agent_with(&["--resync", "1", "--orphan-grace", grace]);
    site.lab.wait_until_ready();
    Some(site)
}

impl Site {
    fn links(&self) -> Vec<String> {
        let links = self.lab.node.sh("ip -br link show group 29808");
        links.lines().filter_map(|line| line.split(['@', ' ']).next().map(str::to_owned)).collect()
    }

    /// Deletes the link that came last.
    fn cut(&self, before: &[String]) {
        let link = self.links().into_iter().find(|link| !before.contains(link)).expect("a new link");
        self.lab.node.sh(&format!("ip link delete {link}"));
    }

    /// Container of each record, and the leases.
    fn held(&self) -> (usize, String) {
        let count =
            self.lab.node.sh("ls /run/tripod/attachments").lines().filter(|it| it.ends_with(".json")).count();
        (count, self.lab.node.sh("cd /run/tripod/ipam/tripod && ls | grep -E '^[0-9a-f]+[.:]' || true"))
    }

    fn released(&self) -> usize {
        self.agent.log().matches("released an attachment").count()
    }
}

#[test]
fn lease_ports_and_record_of_a_lost_link_are_free_after_the_grace() {
    let Some(site) = site("2") else { return };
    let _living = site.routed("living", port(8080));
    let (before, links) = (site.held(), site.links());
    let _gone = site.routed("gone", port(9090));
    assert_ne!(site.held(), before);
    site.cut(&links);
    eventually("the attachment is released", || site.released() == 1);
    assert_eq!(site.held(), before);
    assert!(!site.lab.table().contains("9090") && site.lab.table().contains("8080"), "{}", site.lab.table());
    assert!(site.agent.log().contains("shop/gone"), "{}", site.agent.log());
    // What is free can be had.
    let _next = site.routed("next", port(9090));
    site.wait_for_looks(4);
    assert_eq!((site.released(), site.links().len()), (1, 2), "{}", site.agent.log());
}

#[test]
fn the_grace_is_the_runtimes() {
    let Some(site) = site("600") else { return };
    let gone = site.routed("gone", port(9090));
    let before = site.held();
    site.cut(&[]);
    site.wait_for_looks(3);
    assert_eq!((site.held(), site.released()), (before, 0));
    gone.del(&site);
    assert_eq!(site.held().0, 0);
}

/// A call that works on an attachment has a record before it has a link.
#[test]
fn an_attachment_that_a_call_works_on_is_never_released() {
    let Some(site) = site("1") else { return };
    let _gone = site.routed("gone", port(9090));
    let before = site.held();
    let held = site.lab.node.run(|| super::restore::hold_all("/run/tripod/attachments/lock"));
    site.cut(&[]);
    std::thread::sleep(Duration::from_secs(2));
    site.wait_for_looks(3);
    assert_eq!((site.held(), site.released()), (before, 0), "{}", site.agent.log());
    drop(held);
    eventually("the attachment is released", || site.released() == 1);
    assert_eq!(site.held(), (0, String::new()));
}

/// The agent may not execute the plugin that gave the addresses: without the record nobody could.
#[test]
fn addresses_of_another_plugin_keep_the_record_and_are_told_once() {
    let Some(site) = site("1") else { return };
    let _gone = site.routed("gone", port(9090));
    site.lab.node.sh(
        "cd /run/tripod/attachments && sed -i 's/\"store\":/\"delegated\":{\"plugin\":\"static\"},\"store\":/' *.json",
    );
    site.cut(&[]);
    site.agent.wait_for_log("IPAM plugin static gave its addresses");
    site.wait_for_looks(4);
    assert_eq!(site.agent.log().matches("IPAM plugin static").count(), 1, "{}", site.agent.log());
    assert_eq!((site.held().0, site.released()), (1, 0));
}
