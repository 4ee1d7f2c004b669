//! Rules of the workspace itself.

use tripod_tests::programs;

#[test]
fn the_exec_programs_name_no_foreign_program_to_run() {
    for folder in ["cni/src", "credential-provider/src", "daemonset/src", "device-plugin/src"] {
        for line in rust_lines(&programs::workspace().join(folder)) {
            for word in ["\"nft\"", "\"iptables\"", "\"ip\""] {
                assert!(
                    !(line.contains("Command::new") && line.contains(word)),
                    "{folder} runs {word}: the kernel is spoken to directly"
                );
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
