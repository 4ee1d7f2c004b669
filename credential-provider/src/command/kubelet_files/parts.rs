//! Which files the kubelet reads where its flag names a folder.

use std::path::{Path, PathBuf};

use super::CHECK;
use crate::kubelet::version::Version;
use crate::report::Finding;

const ENDINGS: [&str; 3] = [".json", ".yaml", ".yml"];

/// The files at `path`, in the kubelet's order, and what is wrong with the place itself.
pub(super) fn find(path: &Path, version: Version) -> (Vec<PathBuf>, Vec<Finding>) {
    if !path.is_dir() {
        return (vec![path.to_owned()], Vec::new());
    }
    let object = path.display().to_string();
    if !version.reads_folders() {
        let evidence = format!("it is a folder, and a kubelet {version} reads a file only");
        return (Vec::new(), vec![Finding::fail(CHECK, object, evidence).fix("name a file")]);
    }
    let files = match list(path) {
        Ok(files) => files,
        Err(error) => {
            let finding = Finding::fail(CHECK, object, error.to_string()).fix("let root read it");
            return (Vec::new(), vec![finding]);
        }
    };
    let mut findings = Vec::new();
    if files.is_empty() {
        let evidence = "it has no file that ends in .json, .yaml or .yml";
        findings.push(Finding::fail(CHECK, object, evidence).fix("put one there: see kubelet-config"));
    }
    (files, findings)
}

/// As the kubelet lists them: a link counts as a file wherever it leads, and a leading dot hides nothing.
fn list(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_read = ENDINGS.iter().any(|ending| name.as_encoded_bytes().ends_with(ending.as_bytes()));
        if is_read && !entry.file_type()?.is_dir() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
