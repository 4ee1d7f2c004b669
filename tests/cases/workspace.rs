//! Rules of the workspace itself.

use std::path::{Path, PathBuf};

use tripod_tests::programs;

/// The first starts the IPAM plugin that a configuration names, by the specification's rules of delegation; the
/// second NVIDIA's daemon of the Multi-Process Service, which a rule with `mode: mps` asks for; the third the
/// program that a rule names for the reset of its devices; the fourth, on installing, the two programs that the image
/// brings for the host, once each and only to see that they run there. The last is no part of a node: `kubectl-tripod` on an
/// admin's machine, which asks `kubectl`.
const MAY_START_PROGRAMS: [&str; 6] = [
    "cni/src/delegate.rs",
    "credential-provider/src/child.rs",
    "device-plugin/src/mps/program.rs",
    "device-plugin/src/reset/hook.rs",
    "daemonset/src/hostfs/trial.rs",
    "daemonset/src/kubectl/ask.rs",
];

#[test]
fn the_product_starts_no_program_that_no_configuration_names() {
    let folders = ["cni/src", "credential-provider/src", "device-plugin/src", "daemonset/src"];
    let allowed = MAY_START_PROGRAMS.map(|file| programs::workspace().join(file));
    for file in folders.iter().flat_map(|folder| rust_files(&programs::workspace().join(folder))) {
        let text = std::fs::read_to_string(&file).expect("source text");
        for starter in ["process::Command", "Command::new", "nix::unistd::exec", "posix_spawn"] {
            let starts = text.contains(starter) && !allowed.contains(&file);
            assert!(!starts, "{} starts a program by {starter}", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
