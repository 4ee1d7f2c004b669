//! A host outside of the cluster that answers each connection with the address it came from, which
//! tells whether a pod's traffic was masqueraded.

use super::addresses::OUTSIDE;
use super::kubectl::Kubectl;
use super::machine::{Machine, command_line};
use super::programs::Programs;

const PORT: u16 = 7007;

/// Starts it on `machine`, at the outside addresses of both families.
pub fn start(machine: &Machine, programs: &Programs) -> anyhow::Result<()> {
    let busybox = programs.busybox();
    for (name, address) in [("mirror4", OUTSIDE.v4.to_string()), ("mirror6", OUTSIDE.v6.to_string())] {
        let mut server = command_line(&[&*busybox.to_string_lossy(), "tcpsvd", &address, &PORT.to_string()]);
        // Set for it: address and port of the peer, `[…]` around an IPv6 address.
        server.args(["sh", "-c", "echo ${TCPREMOTEADDR%:*}"]);
        machine.start(name, &mut server)?;
    }
    Ok(())
}

/// As whom the outside sees `pod`, over IPv4 and IPv6.
pub fn seen_from_outside(kubectl: &Kubectl<'_>, pod: &str) -> anyhow::Result<[String; 2]> {
    let ask = |address: String| {
        let answer = kubectl.exec(pod, &["nc", "-w", "5", &address, &PORT.to_string()])?;
        anyhow::Ok(answer.trim().trim_matches(['[', ']']).to_owned())
    };
    Ok([ask(OUTSIDE.v4.to_string())?, ask(OUTSIDE.v6.to_string())?])
}
