//! The kubelet's folder of providers: it does not start unless every entry's program can be executed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::command::kubelet_files::Entry;
use crate::report::Finding;

const CHECK: &str = "kubelet-program";

/// Looks for the programs of `entries` in `bin_dir`.
pub(super) fn check(bin_dir: &Path, entries: &[Entry]) -> Vec<Finding> {
    if !bin_dir.exists() {
        let finding = Finding::fail(
            CHECK,
            bin_dir.display().to_string(),
            "the kubelet's folder of providers is not there",
        );
        return vec![finding.fix("create it, with the programs in it, before the kubelet starts")];
    }
    let named = entries.iter().filter(|entry| !entry.provider.name.is_empty());
    named.map(|entry| program(&bin_dir.join(&entry.provider.name))).collect()
}

fn program(path: &Path) -> Finding {
    let object = path.display().to_string();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if path.is_symlink() => {
            let evidence = "it is a link to nothing, so the kubelet does not start";
            return Finding::fail(CHECK, object, evidence).fix("link it to the program, or install that");
        }
        Err(error) => {
            let evidence = format!("the kubelet does not start without it: {error}");
            return Finding::fail(CHECK, object, evidence).fix("install it, or remove its entry");
        }
    };
    let fix = format!("put the program there, and chmod 0755 {object}");
    match metadata.mode() & 0o111 {
        _ if metadata.is_dir() => Finding::fail(CHECK, object, "it is a folder").fix(fix),
        0 => Finding::fail(CHECK, object, "nobody may execute it, so the kubelet does not start").fix(fix),
        _ => Finding::ok(CHECK, object, "it can be executed"),
    }
}
