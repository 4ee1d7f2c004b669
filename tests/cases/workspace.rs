//! Rules of the workspace itself.

use tripod_tests::programs;

#[test]
fn the_product_starts_no_other_program() {
    let main_sources = |folder: &str| rust_lines(&programs::workspace().join(folder));
    for folder in ["cni/src", "credential-provider/src", "device-plugin/src", "daemonset/src"] {
        for line in main_sources(folder) {
            for starter in ["process::Command", "Command::new", "nix::unistd::exec", "posix_spawn"] {
                assert!(!line.contains(starter), "{folder} starts a program: {line}");
            }
        }
    }
}

fn rust_lines(folder: &std::path::Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            lines.extend(rust_lines(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            lines.extend(std::fs::read_to_string(&path).expect("source text").lines().map(str::to_owned));
        }
    }
    lines
}
