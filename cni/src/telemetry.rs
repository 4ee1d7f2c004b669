//! What a call tells the node agent about itself: one datagram when all is done and answered. Nobody waits
//! for it, and where no agent listens, or it is behind, it is lost.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use serde::{Deserialize, Serialize};

use crate::Reply;

/// Name of the agent's socket in its state folder.
pub const SOCKET: &str = "agent.sock";

/// Longest report in bytes.
pub const LONGEST: usize = 1024;

/// Code of a report about a full range, of which the runtime is told 11: it may try again.
pub const RANGE_EXHAUSTED: u32 = 100;

/// What became of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of this form; 1.
    pub v: u8,
    /// Which program it was: `cni` or `credential-provider`.
    pub leg: String,
    /// What was called; of the credential provider, whose credentials it gave.
    pub op: String,
    /// How it ended.
    pub result: Ended,
    /// The error's code; 0 without one. Of the credential provider, 1 where an earlier run had kept them.
    pub code: u32,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Well.
    Ok,
    /// With an error.
    Error,
}

impl Report {
    /// What to tell of verb `op`, which was answered with `reply` and took `spent`.
    pub fn new(op: &str, reply: &Reply, spent: Duration) -> Self {
        let (result, code) = match reply {
            Reply::Failure(failure) if failure.details.contains("code 100:") => {
                (Ended::Error, RANGE_EXHAUSTED)
            }
            Reply::Failure(failure) => (Ended::Error, failure.code),
            Reply::Success(_) | Reply::About => (Ended::Ok, 0),
        };
        let ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        Self { v: 1, leg: "cni".to_owned(), op: op.to_owned(), result, code, ms }
    }

    /// Sends it to the socket at `agent`, if that takes no waiting.
    pub fn send(&self, agent: &Path) {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (Ok(text), Ok(address)) = (serde_json::to_vec(self), UnixAddr::new(agent)) else { return };
        let Ok(socket) = socket(AddressFamily::Unix, SockType::Datagram, flags, None) else { return };
        // The call is over and answered, and nobody is left to tell that this is lost.
        let _lost = sendto(socket.as_raw_fd(), &text, &address, MsgFlags::MSG_NOSIGNAL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::{Failure, Version};

    fn failure(code: u32, details: &str) -> Reply {
        let (msg, details) = (String::new(), details.to_owned());
        Reply::Failure(Failure { cni_version: Version::default(), code, msg, details })
    }

    #[test]
    fn a_report_has_the_form_that_agents_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let agent = UnixDatagram::bind(&path).unwrap();
        Report::new("ADD", &Reply::Success(None), Duration::from_millis(2)).send(&path);
        let mut buffer = [0; LONGEST];
        let length = agent.recv(&mut buffer).unwrap();
        let text = str::from_utf8(&buffer[..length]).unwrap();
        assert_eq!(text, r#"{"v":1,"leg":"cni","op":"ADD","result":"ok","code":0,"ms":2}"#);
    }

    #[test]
    fn a_full_range_is_told_from_what_else_may_be_tried_again() {
        let code = |reply| Report::new("ADD", &reply, Duration::ZERO).code;
        assert_eq!(code(failure(11, "code 100: delete pods")), RANGE_EXHAUSTED);
        assert_eq!(code(failure(11, "the agent is not ready")), 11);
    }

    #[test]
    fn an_agent_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let report = Report::new("DEL", &Reply::Success(None), Duration::ZERO);
        report.send(&path);
        let _agent = UnixDatagram::bind(&path).unwrap();
        // Many more than a socket keeps.
        (0..10_000).for_each(|_| report.send(&path));
    }
}
