//! The installer killed at each of its steps: the host has the old file or the new one, never a part.

use std::process::Command;

use tripod_tests::programs::program;

use super::{Host, PLUGINS, mode, names};

/// More than one `write` long, so that a kill can fall between two.
fn content(letter: &str) -> String {
    letter.repeat(150 * 1024)
}

/// Installs, and kills the installer when it enters a system call for the `nth` time. Returns whether it
/// came so far.
fn killed_at(host: &Host, call: &str, nth: u32) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]);
    command.arg(format!("--inject={call}:signal=KILL:when={nth}")).arg(format!("--trace={call}"));
    command.arg(program("tripod-node"));
    host.add_arguments(&mut command);
    let status = command.status().expect("strace is installed: it is a package of its name");
    !status.success()
}

#[test]
fn a_killed_installer_leaves_the_old_file_or_the_new_one() {
    let mut kills = 0;
    for call in [
        "openat",
        "write",
        "copy_file_range",
        "sendfile",
        "fchmod",
        "fsync",
        "renameat",
        "unlinkat",
        "symlinkat",
    ] {
        for nth in 1.. {
            let host = Host::new();
            host.image("tripod-cni", &content("1"));
            host.install_well();
            host.image("tripod-cni", &content("2"));
            host.publish(&[("node.yaml", "version: v1\nmtu: 1400\n")]);
            if !killed_at(&host, call, nth) {
                break;
            }
            kills += 1;
            assert_whole(&host, &format!("{call} {nth}"));
            host.install_well();
            assert_eq!(host.read("opt/cni/bin/tripod-cni"), content("2"), "{call} {nth}");
            assert_eq!(names(&host.path("opt/cni/bin")), PLUGINS, "{call} {nth}");
        }
    }
    assert!(kills > 15, "only {kills} kills: the installer works otherwise than this test believes");
}

fn assert_whole(host: &Host, at: &str) {
    let plugin = host.path("opt/cni/bin/tripod-cni");
    let found = host.read("opt/cni/bin/tripod-cni");
    assert!(found == content("1") || found == content("2"), "a torn plugin, killed at {at}");
    assert_eq!(mode(&plugin), 0o755, "a plugin that cannot be executed, killed at {at}");
    let config = host.read("etc/tripod/node.yaml");
    assert!(["version: v1\n", "version: v1\nmtu: 1400\n"].contains(&config.as_str()), "{config:?} at {at}");
}
