//! Whether the node's IP rules see what pods on one bridge send to each other.
//!
//! kube-proxy rewrites the address of a Service to that of a pod. Where that pod is on the caller's own
//! bridge, the answer goes from port to port, past the IP layer that would have to rewrite it back; only
//! with `br_netfilter` and `bridge-nf-call-iptables` does the bridge hand its frames to those rules, and
//! then a policy of dropping forwarded packets decides about pods on one bridge too.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// What the kernel's switches say; absent where `br_netfilter` is not loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallIptables {
    /// `bridge-nf-call-iptables`.
    pub ipv4: Option<bool>,
    /// `bridge-nf-call-ip6tables`.
    pub ipv6: Option<bool>,
}

/// What an admin should know of a network in mode `bridge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// `br_netfilter` is not loaded.
    NotLoaded,
    /// The switch of this name is off.
    Off(&'static str),
}

impl CallIptables {
    /// Reads the switches of the calling thread's namespace from `root`, for example `/proc/sys/net`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let switch = |name: &str| match fs::read_to_string(root.join("bridge").join(name)) {
            Ok(text) => Ok(Some(text.trim() != "0")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Self { ipv4: switch("bridge-nf-call-iptables")?, ipv6: switch("bridge-nf-call-ip6tables")? })
    }

    /// What is wrong for pods with addresses of these families that use Services.
    pub fn warnings(self, has_ipv4: bool, has_ipv6: bool) -> Vec<Warning> {
        let switches = [
            (has_ipv4, self.ipv4, "net.bridge.bridge-nf-call-iptables"),
            (has_ipv6, self.ipv6, "net.bridge.bridge-nf-call-ip6tables"),
        ];
        let mut warnings: Vec<Warning> = switches
            .into_iter()
            .filter(|(used, value, _)| *used && *value != Some(true))
            .map(|(_, value, name)| value.map_or(Warning::NotLoaded, |_off| Warning::Off(name)))
            .collect();
        warnings.dedup();
        warnings
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LOST: &str = "a pod that calls a Service gets no answer from a pod on its own bridge";
        match self {
            Self::NotLoaded => write!(f, "br_netfilter is not loaded: {LOST}"),
            Self::Off(name) => write!(f, "{name}=0: {LOST}"),
        }
    }
}

impl Warning {
    /// What puts an end to it.
    pub fn fix(self) -> String {
        match self {
            Self::NotLoaded => "modprobe br_netfilter".to_owned(),
            Self::Off(name) => format!("sysctl -w {name}=1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_are_read_where_the_module_is_loaded() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(CallIptables::read(root.path()).unwrap(), CallIptables::default());
        fs::create_dir(root.path().join("bridge")).unwrap();
        fs::write(root.path().join("bridge/bridge-nf-call-iptables"), "1\n").unwrap();
        fs::write(root.path().join("bridge/bridge-nf-call-ip6tables"), "0\n").unwrap();
        let read = CallIptables::read(root.path()).unwrap();
        assert_eq!(read, CallIptables { ipv4: Some(true), ipv6: Some(false) });
    }

    #[test]
    fn a_warning_names_the_switch_of_a_family_that_pods_have() {
        let call = |ipv4, ipv6| CallIptables { ipv4, ipv6 };
        let v6 = Warning::Off("net.bridge.bridge-nf-call-ip6tables");
        for (switches, families, wanted) in [
            (call(Some(true), Some(true)), (true, true), vec![]),
            (call(Some(true), Some(false)), (true, true), vec![v6]),
            (call(Some(true), Some(false)), (true, false), vec![]),
            (call(None, None), (true, true), vec![Warning::NotLoaded]),
            (call(None, None), (false, false), vec![]),
        ] {
            assert_eq!(switches.warnings(families.0, families.1), wanted);
        }
        assert_eq!(v6.fix(), "sysctl -w net.bridge.bridge-nf-call-ip6tables=1");
    }
}
