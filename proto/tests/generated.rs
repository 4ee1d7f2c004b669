//! The committed code is what the `.proto` files generate today.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what it calls as well")]

use std::path::{Path, PathBuf};

const INTERFACES: [&str; 3] =
    ["deviceplugin/v1beta1/api.proto", "pluginregistration/v1/api.proto", "podresources/v1/api.proto"];

#[test]
fn the_committed_code_is_what_the_interfaces_generate() {
    let out = tempfile::tempdir().unwrap();
    generate(out.path());
    let committed = here("src/gen");
    if std::env::var_os("TRIPOD_BLESS").is_some() {
        for name in file_names(out.path()) {
            std::fs::copy(out.path().join(&name), committed.join(&name)).unwrap();
        }
    }
    assert_eq!(file_names(out.path()), file_names(&committed), "run again with TRIPOD_BLESS=1");
    for name in file_names(out.path()) {
        let (new, old) = (read(&out.path().join(&name)), read(&committed.join(&name)));
        assert!(new == old, "proto/src/gen/{name} is out of date: run again with TRIPOD_BLESS=1");
    }
}

/// Each file apart: two of them declare messages of the same name in packages of their own.
fn generate(out: &Path) {
    for interface in INTERFACES {
        let descriptors = protox::compile([here(interface)], [here("")]).unwrap();
        tonic_prost_build::configure().out_dir(out).compile_fds(descriptors).unwrap();
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
