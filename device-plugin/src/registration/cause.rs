//! Why a registration is given up.

use std::fmt;

/// Why a turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    KubeletRestarted,
    SocketGone,
    StreamLost,
    NoStream,
    ServingEnded,
    Stopping,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::KubeletRestarted => "kubelet.sock was made anew",
            Cause::SocketGone => "the socket was removed",
            Cause::StreamLost => "the kubelet closed its stream",
            Cause::NoStream => "the kubelet opened no stream",
            Cause::ServingEnded => "nothing answers on it any more",
            Cause::Stopping => "stopping",
        })
    }
}
