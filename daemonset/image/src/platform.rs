//! What is in every program and is no crate.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A part of programs, and where the build machine has the texts of its licence.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) licence: &'static str,
    pub(crate) texts: Vec<PathBuf>,
}

/// As Debian and Rust's toolchain have them.
pub(crate) fn parts() -> Vec<Part> {
    let rust = toolchain().join("share/doc/rust/licenses");
    let with = |folder: &Path, names: &[&str]| names.iter().map(|name| folder.join(name)).collect();
    vec![
        Part {
            name: "Rust's standard library",
            licence: "MIT OR Apache-2.0",
            texts: with(&rust, &["MIT.txt", "Apache-2.0.txt"]),
        },
        Part {
            name: "the GNU C library",
            licence: "LGPL-2.1-or-later",
            texts: with(Path::new("/usr/share/common-licenses"), &["LGPL-2.1"]),
        },
        Part {
            name: "GCC's runtime",
            licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
            texts: with(&rust, &["GPL-3.0-or-later.txt", "GCC-exception-3.1.txt"]),
        },
    ]
}

/// The folder of Rust's toolchain; nowhere if the compiler does not tell, and then its texts are not found.
fn toolchain() -> PathBuf {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).args(["--print", "sysroot"]).output();
    told.map(|told| String::from_utf8_lossy(&told.stdout).trim().into()).unwrap_or_default()
}
