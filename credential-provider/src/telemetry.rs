//! What an answer tells the node agent about itself: one datagram when the kubelet has its answer. Nobody waits
//! for it, and where no agent listens, or it is behind, it is lost.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use serde::Serialize;

/// Where agents listen.
pub const SOCKET: &str = "/run/tripod/agent.sock";

/// What became of one question, as far as that can be told without naming an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose credentials were given; `none` where no entry matched.
    pub provider: &'static str,
    /// Whether there were any.
    pub is_given: bool,
    /// Whether they were kept by an earlier run.
    pub is_kept: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self { provider: "none", is_given: false, is_kept: false }
    }
}

/// The form that reports of all programs have.
#[derive(Debug, Serialize)]
struct Report {
    v: u8,
    leg: &'static str,
    op: &'static str,
    result: &'static str,
    /// 1 where the credentials were kept by an earlier run.
    code: u32,
    ms: u64,
}

impl Told {
    /// Sends it to the socket at `agent`, if that takes no waiting. Answering took `spent`.
    pub fn send(&self, agent: &Path, spent: Duration) {
        let report = Report {
            v: 1,
            leg: "credential-provider",
            op: self.provider,
            result: if self.is_given { "ok" } else { "error" },
            code: self.is_kept.into(),
            ms: u64::try_from(spent.as_millis()).unwrap_or(u64::MAX),
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (Ok(text), Ok(address)) = (serde_json::to_vec(&report), UnixAddr::new(agent)) else { return };
        let Ok(socket) = socket(AddressFamily::Unix, SockType::Datagram, flags, None) else { return };
        // The kubelet has its answer, and nobody is left to tell that this is lost.
        let _lost = sendto(socket.as_raw_fd(), &text, &address, MsgFlags::MSG_NOSIGNAL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_report_has_the_form_that_agents_read_and_nobody_has_to_listen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let told = Told { provider: "ecr", is_given: true, is_kept: true };
        told.send(&path, Duration::ZERO);
        let agent = UnixDatagram::bind(&path).unwrap();
        told.send(&path, Duration::from_millis(2));
        let mut buffer = [0; 1024];
        let length = agent.recv(&mut buffer).unwrap();
        let text = str::from_utf8(&buffer[..length]).unwrap();
        assert_eq!(text, r#"{"v":1,"leg":"credential-provider","op":"ecr","result":"ok","code":1,"ms":2}"#);
    }
}
