//! The programs under test, built once per test process by cargo itself, so that a test never judges
//! a stale binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Packages whose binaries the tests execute.
const PACKAGES: [&str; 4] =
    ["tripod-cni", "tripod-device-plugin", "tripod-credential-provider", "tripod-node"];

/// Which build of the programs to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, with debug assertions: what tests run.
    Debug,
    /// What is shipped: what the demo, the cluster and the benches run.
    Release,
}

/// Path of the debug build of `name`, for example `tripod-cni`.
pub fn program(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| build(Profile::Debug, &PACKAGES).expect("the programs under test build")).join(name)
}

/// Builds `packages` and returns the folder that holds their binaries.
pub fn build(profile: Profile, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--bins"]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    // The optimised build takes minutes, during which a person wants to see cargo at work.
    cargo.arg(if profile == Profile::Release { "--release" } else { "--quiet" });
    let status = cargo.status()?;
    anyhow::ensure!(status.success(), "cargo build of {packages:?} failed: {status}");
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    Ok(target_dir().join("x86_64-unknown-linux-gnu").join(folder))
}

/// Path of a `tripod-cni` that a test can end before each of its steps.
pub fn with_failpoints() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // A folder of its own, or the two builds would take turns in one place.
    let target = target_dir().join("failpoints");
    let build = || {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace()).args(["build", "--bins", "--quiet", "--package", "tripod-cni"]);
        cargo.args(["--features", "failpoints", "--target-dir"]).arg(&target);
        assert!(cargo.status().expect("cargo").success(), "tripod-cni builds with its failpoints");
        target.join("x86_64-unknown-linux-gnu/debug/tripod-cni")
    };
    PROGRAM.get_or_init(build).clone()
}

/// The checkout this harness was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// Cargo's target folder, which also holds everything the harness builds or unpacks.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
