//! Programs of the host that remove routes, rules and addresses which they did not make. The agent restores what
//! is ours, but packets are lost until it has.

use std::fs;
use std::path::{Path, PathBuf};

use tripod_cni::finding::Finding;

const CHECK: &str = "network-program";

/// A program, by what is seen of it.
#[derive(Debug)]
struct Program {
    name: &'static str,
    /// Folder of its state and of its sockets, on the host.
    state: &'static str,
    /// Where an admin tells it to keep off, and a word of that.
    file: &'static str,
    word: &'static str,
    /// How to tell it.
    fix: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "systemd-networkd",
        state: "run/systemd/netif",
        file: "etc/systemd/networkd.conf.d/10-tripod.conf",
        word: "ManageForeignRoutes=no",
        fix: "write /etc/systemd/networkd.conf.d/10-tripod.conf with \"[Network]\\nManageForeignRoutes=no\\n\
              ManageForeignRoutingPolicyRules=no\\n\" and /etc/systemd/network/05-tripod.network with \"[Match]\\n\
              Name=tripod* tp*\\n[Link]\\nUnmanaged=yes\\n\", then restart systemd-networkd",
    },
    Program {
        name: "NetworkManager",
        state: "run/NetworkManager",
        file: "etc/NetworkManager/conf.d/10-tripod.conf",
        word: "unmanaged-devices",
        fix: "write /etc/NetworkManager/conf.d/10-tripod.conf with \"[keyfile]\\n\
              unmanaged-devices=interface-name:tripod*;interface-name:tp*\\n\", then reload NetworkManager",
    },
];

/// Those that run, by their state below the root folder `host`, or by their sockets in `sockets`
/// (`/proc/net/unix`), which names those of the node's whole network, also to a container that shares it.
pub(super) fn findings(host: &Path, sockets: &str) -> Vec<Finding> {
    PROGRAMS.iter().filter_map(|program| program.find(host, sockets)).collect()
}

impl Program {
    fn find(&self, host: &Path, sockets: &str) -> Option<Finding> {
        let file = host.join(self.file);
        if host.join(self.state).is_dir() {
            return Some(self.seen(&file));
        }
        self.listens(sockets).then(|| {
            let text = format!(
                "runs on this node; whether {} keeps it off can be seen on the node alone",
                PathBuf::from("/").join(self.file).display()
            );
            Finding::ok(CHECK, self.name, text).fix(format!("unless that is so, {}", self.fix))
        })
    }

    fn seen(&self, file: &Path) -> Finding {
        if fs::read_to_string(file).is_ok_and(|text| text.contains(self.word)) {
            return Finding::ok(CHECK, self.name, format!("{} keeps it off", file.display()));
        }
        let text = "runs on this node, and may remove routes, rules and addresses that it did not make";
        Finding::warn(CHECK, self.name, text).fix(self.fix)
    }

    /// The last word of a line is the path that the socket was bound to, as proc(5) says.
    fn listens(&self, sockets: &str) -> bool {
        let mut paths = sockets.lines().filter_map(|line| line.split(' ').next_back()?.strip_prefix('/'));
        paths.any(|path| path.strip_prefix(self.state).is_some_and(|rest| rest.starts_with('/')))
    }
}

#[cfg(test)]
mod tests {
    use tripod_cni::finding::Severity;

    use super::*;

    #[test]
    fn a_program_that_removes_what_is_not_its_own_is_kept_off_by_a_file() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(findings(host.path(), ""), []);
        fs::create_dir_all(host.path().join("run/systemd/netif")).unwrap();
        let found = findings(host.path(), "");
        assert_eq!((found[0].object.as_str(), found[0].severity), ("systemd-networkd", Severity::Warn));
        assert!(found[0].fix.contains("ManageForeignRoutingPolicyRules=no"));
        let file = host.path().join("etc/systemd/networkd.conf.d");
        fs::create_dir_all(&file).unwrap();
        fs::write(file.join("10-tripod.conf"), "[Network]\nManageForeignRoutes=no\n").unwrap();
        assert_eq!(findings(host.path(), "")[0].severity, Severity::Ok);
    }

    #[test]
    fn from_a_container_its_socket_gives_it_away() {
        let nowhere = Path::new("/nowhere");
        let line = |path: &str| {
            format!("Num Path\n0000000000000000: 00000002 00000000 00010000 0001 01 22334 {path}\n")
        };
        for (path, name) in [
            ("/run/systemd/netif/io.systemd.Network", Some("systemd-networkd")),
            ("/run/NetworkManager/private-dhcp", Some("NetworkManager")),
            ("/run/NetworkManagerish/socket", None),
            ("@/run/systemd/netif/abstract", None),
            ("", None),
        ] {
            let found = findings(nowhere, &line(path));
            assert_eq!(found.first().map(|it| it.object.as_str()), name, "{path}");
            assert!(found.iter().all(|it| it.severity == Severity::Ok && it.fix.contains("10-tripod.conf")));
        }
    }
}
