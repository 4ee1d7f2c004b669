use std::os::unix::fs::symlink;

use super::*;

/// A `/proc` with one process of this command line and these numbers, as `status` tells them.
fn proc(words: &str, numbers: &str) -> tempfile::TempDir {
    let proc = tempfile::tempdir().unwrap();
    let folder = proc.path().join("77");
    fs::create_dir_all(folder.join("root/etc")).unwrap();
    fs::create_dir(proc.path().join("self")).unwrap();
    fs::write(folder.join("cmdline"), words).unwrap();
    fs::write(folder.join("status"), format!("Name:\tx\n{numbers}")).unwrap();
    proc
}

fn kubelet(proc: &tempfile::TempDir) -> Process {
    named(proc.path(), "kubelet").pop().unwrap()
}

const NODE: &str = "NSpid:\t77\n";

#[test]
fn a_process_is_found_with_its_flags_and_its_start() {
    let proc = proc("/usr/bin/containerd\0--config=/etc/c.toml\0-l\0debug\0", NODE);
    let fields = (4..=21).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
    fs::write(proc.path().join("77/stat"), format!("77 (con) tainerd) S {fields} 1250 0")).unwrap();
    fs::write(proc.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
    let [found] = &named(proc.path(), "containerd")[..] else { panic!() };
    assert_eq!(found.flag(&["--config", "-c"]), Some("/etc/c.toml"));
    assert_eq!((found.flag(&["--log-level", "-l"]), found.flag(&["--root"])), (Some("debug"), None));
    assert_eq!(found.started().unwrap().as_second(), 1_700_000_012);
    assert_eq!(named(proc.path(), "kubelet"), []);
}

#[test]
fn the_last_of_repeated_flags_counts() {
    let kubelet = kubelet(&proc("kubelet\0--config=/a\0--config\0/b\0-v\0--other=/c\0", NODE));
    assert_eq!(kubelet.flag(&["--config"]), Some("/b"));
}

#[test]
fn a_process_of_a_pod_is_nobody_whatever_it_calls_itself() {
    for numbers in ["NSpid:\t77\t1\n", ""] {
        assert_eq!(named(proc("/usr/bin/kubelet\0", numbers).path(), "kubelet"), [], "{numbers:?}");
    }
    assert_eq!(named(proc("/usr/bin/kubelet\0", NODE).path(), "kubelet").len(), 1);
}

#[test]
fn links_of_a_process_lead_nowhere_but_into_its_own_root() {
    let proc = proc("kubelet\0", NODE);
    let secret = proc.path().join("secret");
    fs::write(&secret, "of the node").unwrap();
    let root = proc.path().join("77/root");
    fs::write(root.join("etc/real.yaml"), "its own").unwrap();
    symlink("/etc/real.yaml", root.join("etc/link.yaml")).unwrap();
    symlink(&secret, root.join("etc/absolute.yaml")).unwrap();
    symlink("../../../secret", root.join("etc/up.yaml")).unwrap();
    let kubelet = kubelet(&proc);
    let read = |path: &str| kubelet.read(Path::new(path)).ok();
    assert_eq!(read("/etc/link.yaml").as_deref(), Some("its own"));
    assert_eq!(read("etc/real.yaml").as_deref(), Some("its own"));
    for path in ["/etc/absolute.yaml", "/etc/up.yaml", "/../../../secret"] {
        assert_eq!(read(path), None, "{path}");
        assert!(kubelet.metadata(Path::new(path)).is_err(), "{path}");
    }
    let all = ["absolute.yaml", "link.yaml", "real.yaml", "up.yaml"];
    assert_eq!(kubelet.names(Path::new("/etc"), 9).unwrap(), all);
}

#[test]
fn nothing_but_a_regular_file_is_opened() {
    let proc = proc("kubelet\0", NODE);
    let pipe = proc.path().join("77/root/etc/pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let kubelet = kubelet(&proc);
    for path in ["/etc/pipe", "/etc"] {
        let error = kubelet.read(Path::new(path)).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{path}: {error}");
    }
}
