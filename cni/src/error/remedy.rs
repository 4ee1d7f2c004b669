//! What a person can do about an error.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::{Error, is};

impl Error {
    /// What a person can do about it, where that is not in the message already.
    pub(super) fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::LockHeld { store } => of_lock(store).into(),
            Self::State { source, .. } => of_file_system(source).into(),
            Self::Netns { source, .. } => of_namespace(source.as_ref()).into(),
            Self::Unavailable(cause) | Self::NotUndone { cause, .. } | Self::OfAttachment { cause, .. } => {
                cause.remedy()
            }
            Self::Several { failures, .. } => failures.first().map(Self::remedy).unwrap_or_default(),
            _ => self.on_the_node().or(self.in_the_request()).unwrap_or_default().into(),
        }
    }

    /// Where the node is to be looked at.
    fn on_the_node(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotReady { .. } => "wait for the tripod pod of this node, or read its log",
            Self::Exhausted { .. } => {
                "code 100: delete pods of this node, or give the network a larger range; `tripod-cni leases` lists who has \
                 them"
            }
            Self::Busy { .. } => {
                "the runtime tries again; `ps -C tripod-cni` shows a call that hangs, which can be ended"
            }
            Self::LostRecord { .. } => "delete the interface if it is no running pod's, then the record",
            Self::UnreadableRecord { .. } => {
                "delete the record where no interface is called tp and its name, or the pod of the container \
                 that this interface's alias names"
            }
            Self::PluginMissing { .. } => {
                "install it there: its addresses can be got and given back by it alone; where it is gone for \
                 good, a script of its name there that does nothing lets DEL and GC end"
            }
            Self::Delegated { .. } => "see that plugin's own documentation",
            Self::KernelFeature { .. } => "load or build it, or take the key that needs it out",
            Self::Deadline { .. } => "the runtime tries again; look at the node's load",
            Self::CheckFailed { .. } => "delete the pod; its controller makes a new one",
            Self::InterfaceExists { .. } => {
                "delete that interface, or let the runtime DEL the old attachment"
            }
            _ => return None,
        })
    }

    /// Where what is asked for is to be changed.
    fn in_the_request(&self) -> Option<&'static str> {
        Some(match self {
            Self::StdinTooLong { .. } => "shorten its lists, or what the runtime adds to it",
            Self::Decode(_) => "correct that file, usually below /etc/cni/net.d, at that line and column",
            Self::HostPortTaken { .. } => {
                "give one of the pods another hostPort or hostIP, or let the runtime DEL the other"
            }
            Self::AddressTaken { .. } => "ask for another address, or delete that pod",
            Self::GivenBefore { .. } => {
                "let the runtime DEL that attachment before it asks for another address"
            }
            Self::RouteExists { .. } => {
                "a second interface of a pod needs \"ipam\": {\"routes\": []}, or routes that the first one has \
                 not; without \"routes\" it is given the default ones"
            }
            Self::BridgeUnfit { .. } => "name another \"bridge\", or delete or change that interface",
            Self::BridgeFull { .. } => {
                "use \"mode\": \"routed\", which has no such limit, or give the node fewer pods (maxPods)"
            }
            _ => return None,
        })
    }
}

fn of_lock(store: &Path) -> String {
    let lock = store.join("lock");
    format!("`fuser -v {}` names the process; end it if it hangs", lock.display())
}

fn of_file_system(source: &io::Error) -> &'static str {
    match source {
        full if is(full, Errno::ENOSPC) || is(full, Errno::EDQUOT) => "make room on that file system",
        fixed if is(fixed, Errno::EROFS) => "remount that file system, so that it can be written",
        _ => "",
    }
}

/// By the system's answer; where it was not asked, the path is that of the node itself.
fn of_namespace(source: Option<&io::Error>) -> &'static str {
    match source {
        None => "CNI_NETNS must name the sandbox; with CNI_NETNS_OVERRIDE=1 it may be the node",
        Some(error) if is(error, Errno::EPERM) || is(error, Errno::EACCES) => "run the plugin as root",
        Some(error) if is(error, Errno::EINVAL) => {
            "CNI_NETNS must name a network namespace, as in /run/netns"
        }
        Some(_) => "the runtime must create the sandbox's network namespace before ADD",
    }
}
