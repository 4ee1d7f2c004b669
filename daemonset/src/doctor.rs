//! `doctor`: why a pod may be without network. It looks at what the runtime is given, at the node, at the ways
//! to other nodes, and at each attachment, and changes nothing.

mod attachments;
mod clock;
mod devices;
mod files;
mod kernel;
mod kubelet;
mod node;
mod path;
mod programs;
mod runtime;

use std::io::{self, Write};
use std::path::Path;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tripod_cni::finding::{self, Finding};

use crate::attachments::dirs;
use crate::cli::{Doctor, Topic};
use crate::kernel::{Kernel, KernelError, Link};
use crate::processes;
use crate::report;
use crate::status;

/// Every bound Unix socket of the network that this process shares with the node.
const SOCKETS: &str = "/proc/net/unix";
/// How much of them is read, in bytes: some hundred thousand.
const LONGEST_SOCKETS: u64 = 16 << 20;

/// Tells everything on `stdout`; says whether pods can start.
pub async fn run(flags: &Doctor, stdout: &mut dyn Write) -> io::Result<bool> {
    let findings = findings(flags).await;
    let told = if flags.json { finding::json(&findings) } else { finding::text(&findings) };
    stdout.write_all(told.as_bytes())?;
    Ok(finding::is_good(&findings))
}

/// Everything that was looked at.
pub(crate) async fn findings(flags: &Doctor) -> Vec<Finding> {
    let status = status::ask(flags.health_addr).await;
    let is_silent = status.as_ref().err().map(|error| silent(flags, error));
    let status = status.as_ref().ok();
    let mut findings = Vec::new();
    for topic in Topic::ALL.into_iter().filter(|topic| flags.only.contains(topic)) {
        findings.extend(of_topic(topic, flags, status).await);
        if topic == Topic::Agent {
            findings.extend(is_silent.clone());
        }
    }
    findings
}

async fn of_topic(topic: Topic, flags: &Doctor, status: Option<&Value>) -> Vec<Finding> {
    match (topic, status) {
        (Topic::Runtime, status) => runtime(flags, status),
        (Topic::Agent, Some(status)) => agent(flags, status).await,
        (Topic::Path, Some(status)) => path::findings(status, &flags.peer).await,
        (Topic::Kernel, status) => kernel(flags, status).await,
        (Topic::Files, _) => files::findings(flags),
        (Topic::Attachments, _) => {
            let dirs = dirs(&flags.state_dir);
            attachments::findings(&dirs, &links().await.unwrap_or_default())
        }
        (Topic::Kubelet, _) => {
            let mut findings = kubelet::findings(&flags.host_root, &flags.etc_dir);
            findings.push(devices::findings(flags.device_plugin_addr).await);
            findings
        }
        (Topic::Agent | Topic::Path, None) => Vec::new(),
    }
}

async fn links() -> Result<Vec<Link>, KernelError> {
    Kernel::open()?.links().await
}

/// What an ADD would meet, and whether the runtime would call it.
fn runtime(flags: &Doctor, status: Option<&Value>) -> Vec<Finding> {
    let mut findings = network(flags);
    findings.extend(runtime::order(&flags.conflist));
    findings.extend(status.map(runtime::loaded));
    findings.extend(runtime::places(&flags.host_root, &flags.conflist, &flags.cni_bin_dir));
    findings
}

async fn kernel(flags: &Doctor, status: Option<&Value>) -> Vec<Finding> {
    let links = links().await.unwrap_or_default();
    let mut findings = kernel::findings(&flags.host_root, &flags.sysctl_root, &links, status);
    // Whoever binds a socket names it in bytes of their own choice.
    let sockets = processes::read_up_to(Path::new(SOCKETS), LONGEST_SOCKETS).unwrap_or_default();
    findings.extend(programs::findings(&flags.host_root, &sockets));
    findings
}

/// What an ADD would meet.
fn network(flags: &Doctor) -> Vec<Finding> {
    if !flags.conflist.exists() {
        let text = "is not there: the agent writes it when the node is prepared, and until then the node is NotReady";
        let fix = "look for what the agent waits for: kubectl -n tripod-system logs ds/tripod -c net";
        return vec![Finding::fail("conflist", flags.conflist.display(), text).fix(fix)];
    }
    tripod_cni::explain(&flags.conflist, &dirs(&flags.state_dir), std::slice::from_ref(&flags.cni_bin_dir))
}

fn silent(flags: &Doctor, error: &io::Error) -> Finding {
    let text =
        format!("does not answer: {error}; what it knows of other nodes, and the ways to them, is left out");
    let fix = "pods that run keep their network; look at kubectl -n tripod-system get pods -o wide";
    Finding::warn("agent", flags.health_addr, text).fix(fix)
}

/// What the agent says, and what it needs of the node.
async fn agent(flags: &Doctor, status: &Value) -> Vec<Finding> {
    let mut findings = node::of_agent(status);
    match links().await {
        Ok(links) => findings.extend(node::overlays(status, &links)),
        Err(error) => findings.push(Finding::warn("overlay", "links", report::chain(&error))),
    }
    findings.extend(node::forwarding(status, &flags.sysctl_root));
    let now = Timestamp::now();
    findings.push(clock::skew(status, now));
    findings.push(clock::token(&flags.service_account_dir, now));
    findings
}
