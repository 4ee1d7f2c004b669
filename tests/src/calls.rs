//! What a call of the plugin asks of the kernel, counted with `strace`: its system calls, and its requests
//! by netlink, each of which is a round trip.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::json;

use crate::exec::Call;
use crate::namespace::Namespace;

/// The calls of one execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Kinds of the netlink requests, in order, as the kernel's headers name them.
    pub requests: Vec<String>,
    /// Numbers of system calls by name, without those that depend on more than what the program does.
    pub system: BTreeMap<String, usize>,
}

impl Calls {
    /// How many system calls there were.
    pub fn total(&self) -> usize {
        self.system.values().sum()
    }

    /// Reads what `strace -f -o` wrote.
    fn parse(trace: &str) -> Self {
        let mut calls = Self::default();
        for line in trace.lines() {
            // `<pid> <name>(<arguments>`; the end of the process and resumed calls look otherwise.
            let Some((name, arguments)) = line
                .split_once(' ')
                .and_then(|(_pid, call)| call.trim_start().split_once('('))
                .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
            else {
                continue;
            };
            if !is_incidental(name, arguments) {
                *calls.system.entry(name.to_owned()).or_default() += 1;
            }
            if name.starts_with("send")
                && let Some((_, kind)) = arguments.split_once("nlmsg_type=")
            {
                let kind = kind.split([',', ' ']).next().unwrap_or_default();
                calls.requests.push(request_name(kind).to_owned());
            }
        }
        calls
    }
}

/// Memory depends on how the program was compiled, as does the standard library's look at a descriptor
/// before it closes it.
fn is_incidental(name: &str, arguments: &str) -> bool {
    const MEMORY: [&str; 6] = ["brk", "mmap", "munmap", "mprotect", "madvise", "mremap"];
    MEMORY.contains(&name) || (name == "fcntl" && arguments.contains("F_GETFD"))
}

/// `strace` names kinds only where it could see which protocol a socket speaks.
fn request_name(kind: &str) -> &str {
    let kind = kind.rsplit_once('|').map_or(kind, |(_subsystem, kind)| kind);
    match kind {
        "0x10" => "RTM_NEWLINK",
        "0x11" => "RTM_DELLINK",
        "0x12" => "RTM_GETLINK",
        "0x13" => "RTM_SETLINK",
        "0x14" => "RTM_NEWADDR",
        "0x18" => "RTM_NEWROUTE",
        "0x1a" => "RTM_GETROUTE",
        "0x1c" => "RTM_NEWNEIGH",
        other => other,
    }
}

/// Counts ADD and DEL of a pod with one IPv4 address by `program`, on a node where others came before it and
/// an agent listens.
/// `None` without root.
pub fn count(program: &Path) -> Option<(Calls, Calls)> {
    let node = Namespace::node()?;
    // A default route, by which the MTU is found.
    node.sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; \
         ip address add 192.0.2.2/24 dev up0; ip route add default via 192.0.2.1");
    let state = tempfile::tempdir().expect("a folder");
    std::fs::write(state.path().join("ready"), "").expect("a marker");
    let agent = UnixDatagram::bind(state.path().join("agent.sock")).expect("a socket");
    let conf = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "agentState": state.path(),
        "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]},
    });
    let pods = [Namespace::sandbox(), Namespace::sandbox()];
    let call = |verb: &str, pod: usize| {
        let call = Call::of(program, verb, &conf).container(&format!("c{pod}"));
        call.netns(&pods[pod].path())
    };
    call("ADD", 0).run(&node).ok();
    let trace = tempfile::NamedTempFile::new().expect("a temporary file");
    let traced = |verb| {
        let path = trace.path().to_str().expect("a path in Unicode");
        let outcome = call(verb, 1).under(&["strace", "-f", "-qq", "-o", path]).run(&node);
        assert!(outcome.success, "{outcome:?}");
        Calls::parse(&std::fs::read_to_string(trace.path()).expect("a trace"))
    };
    let counted = (traced("ADD"), traced("DEL"));
    agent.set_nonblocking(true).expect("a socket");
    let reports = std::iter::from_fn(|| agent.recv(&mut [0; 1024]).ok()).count();
    assert_eq!(reports, 3, "one for each call");
    Some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_requests_are_told_apart() {
        let trace = "12 execve(\"/p\", [\"/p\"], 0x7 /* 4 vars */) = 0\n\
                     12 brk(NULL) = 0x5\n\
                     12 sendto(13, [{nlmsg_len=48, nlmsg_type=0x14 /* NLMSG_??? */, nlmsg_flags=0}, \"\"], 48) = 48\n\
                     12 sendto(9, [{nlmsg_len=44, nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_GETCHAIN, n\n\
                     12 <... futex resumed>) = 0\n\
                     12 +++ exited with 0 +++\n";
        let calls = Calls::parse(trace);
        assert_eq!(calls.requests, ["RTM_NEWADDR", "NFT_MSG_GETCHAIN"]);
        assert_eq!(calls.total(), 3);
    }
}
