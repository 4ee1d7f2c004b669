//! `doctor`: why a pod may be without network. It looks at what the runtime is given, at the node, and at
//! each attachment, and changes nothing.

mod node;

use std::io::{self, Write};

use nix::net::if_::if_nametoindex;
use tripod_cni::Dirs;
use tripod_cni::finding::{self, Finding};
use tripod_cni::record::{Entry, Record, Records, Stage};

use crate::cli::Doctor;
use crate::kernel::Kernel;
use crate::report;
use crate::status;

/// Tells everything on `stdout`; says whether pods can start.
pub async fn run(flags: &Doctor, stdout: &mut dyn Write) -> io::Result<bool> {
    let findings = findings(flags).await;
    let told = if flags.json { finding::json(&findings) } else { finding::text(&findings) };
    stdout.write_all(told.as_bytes())?;
    Ok(finding::is_good(&findings))
}

/// Everything that was looked at.
pub(crate) async fn findings(flags: &Doctor) -> Vec<Finding> {
    let mut findings = network(flags);
    findings.extend(agent(flags).await);
    findings.extend(node::programs(&flags.host_root));
    findings.extend(attachments(&Records::new(flags.state_dir.join("attachments"))));
    findings
}

/// What an ADD would meet.
fn network(flags: &Doctor) -> Vec<Finding> {
    if !flags.conflist.exists() {
        let text = "is not there: the agent writes it when the node is prepared, and until then the node is NotReady";
        let fix = "look for what the agent waits for: kubectl -n tripod-system logs ds/tripod -c net";
        return vec![Finding::fail("conflist", flags.conflist.display(), text).fix(fix)];
    }
    let state = &flags.state_dir;
    let dirs = Dirs { attachments: state.join("attachments"), leases: state.join("ipam") };
    tripod_cni::explain(&flags.conflist, &dirs, std::slice::from_ref(&flags.cni_bin_dir))
}

/// What the agent says, and what it needs of the node.
async fn agent(flags: &Doctor) -> Vec<Finding> {
    let status = match status::ask(flags.health_addr).await {
        Ok(status) => status,
        Err(error) => {
            let text = format!("does not answer: {error}");
            let fix = "pods that run keep their network; look at kubectl -n tripod-system get pods -o wide";
            return vec![Finding::warn("agent", flags.health_addr, text).fix(fix)];
        }
    };
    let links = match Kernel::open() {
        Ok(kernel) => kernel.links().await,
        Err(error) => Err(error),
    };
    let mut findings = node::of_agent(&status);
    match links {
        Ok(links) => findings.extend(node::overlays(&status, &links)),
        Err(error) => findings.push(Finding::warn("overlay", "links", report::chain(&error))),
    }
    findings.extend(node::forwarding(&status, &flags.sysctl_root));
    findings
}

fn attachments(records: &Records) -> Vec<Finding> {
    const CHECK: &str = "attachment";
    let entries = match records.list() {
        Ok(entries) => entries,
        Err(error) => return vec![Finding::warn(CHECK, "all", error.in_one_line()).fix("run as root")],
    };
    let count = entries.len();
    let mut findings: Vec<Finding> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Ok(Entry::Whole(record)) => lost(&record),
            Ok(Entry::Unreadable { hash }) => {
                let fix = "delete the pod that has it; DEL or GC then finds the rest by name";
                let text = "its record cannot be read";
                Some(Finding::warn(CHECK, hash, text).fix(fix))
            }
            Err(error) => Some(Finding::warn(CHECK, "one", error.in_one_line()).fix("run as root")),
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "all", format!("{count} of them, each with its link")));
    }
    findings
}

/// Nothing where the pod's link is there, or another plugin's.
fn lost(record: &Record) -> Option<Finding> {
    let is_there = record.host_ifname.is_empty() || if_nametoindex(record.host_ifname.as_str()).is_ok();
    if record.stage == Stage::Intent || is_there {
        return None;
    }
    let pod = record.pod.as_deref().unwrap_or("of an unknown pod");
    let object = format!("{pod} (container {} on {})", record.container_id, record.ifname);
    let text = format!("its link {} is gone, and with it its network", record.host_ifname);
    Some(Finding::warn("attachment", object, text).fix("delete the pod; its controller makes a new one"))
}
