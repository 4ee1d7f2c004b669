//! The programs under test, built once per test process by cargo itself, so that a test never judges
//! a stale binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::Context;
use serde_json::Value;

/// Packages whose binaries the tests execute.
const PACKAGES: [&str; 4] =
    ["tripod-cni", "tripod-device-plugin", "tripod-credential-provider", "tripod-node"];

/// A variable that is set where there is no cargo, as in the guest of `cargo e2e --kernel`: whoever set it
/// has called [`build_ahead`], and every program lies where cargo puts it.
pub const PREBUILT: &str = "TRIPOD_PREBUILT";

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

/// Builds every program that tests execute, for a run where there is no cargo.
pub fn build_ahead() -> anyhow::Result<()> {
    build(Profile::Debug, &PACKAGES)?;
    build_failpoints()?;
    build_dynamic()?;
    Ok(())
}

/// Builds the integration test `name` and returns the path of its program.
pub fn test_program(name: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["test", "--no-run", "--package", "tripod-tests", "--test", name]);
    cargo.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(output.status.success(), "cargo build of the test {name} failed: {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    // Cargo tells of everything it has built, one document per line.
    let mut artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = artifacts.find_map(|one| match &one["executable"] {
        Value::String(path) if one["target"]["name"] == name => Some(PathBuf::from(path)),
        _ => None,
    });
    program.with_context(|| format!("cargo tells of no program of the test {name}"))
}

/// Builds `packages` and returns the folder that holds their binaries.
pub fn build(profile: Profile, packages: &[&str]) -> anyhow::Result<PathBuf> {
    // The optimised build takes minutes, during which a person wants to see cargo at work.
    let (flag, folder) =
        if profile == Profile::Release { ("--release", "release") } else { ("--quiet", "debug") };
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    run_cargo_build(&packages.chain([flag]).collect::<Vec<_>>())?;
    Ok(target_dir().join("x86_64-unknown-linux-gnu").join(folder))
}

/// Every build of a program under test. Where there is no cargo it is done already.
fn run_cargo_build(arguments: &[&str]) -> anyhow::Result<()> {
    if std::env::var_os(PREBUILT).is_some() {
        return Ok(());
    }
    let status = cargo().args(["build", "--bins"]).args(arguments).status()?;
    anyhow::ensure!(status.success(), "cargo build {arguments:?} failed: {status}");
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Path of a `tripod-cni` that a test can end before each of its steps.
pub fn with_failpoints() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build_failpoints().expect("tripod-cni builds with its failpoints")).clone()
}

fn build_failpoints() -> anyhow::Result<PathBuf> {
    // A folder of its own, or the two builds would take turns in one place.
    let target = target_dir().join("failpoints");
    let folder = target.to_str().context("a target folder in Unicode")?;
    let arguments =
        ["--quiet", "--package", "tripod-cni", "--features", "failpoints", "--target-dir", folder];
    run_cargo_build(&arguments)?;
    Ok(target.join("x86_64-unknown-linux-gnu/debug/tripod-cni"))
}

/// Path of a `tripod-device-plugin` that can load a library, as the shipped one can.
pub fn dynamic_device_plugin() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build_dynamic().expect("tripod-device-plugin builds dynamically")).clone()
}

fn build_dynamic() -> anyhow::Result<PathBuf> {
    let target = target_dir().join("dynamic");
    if std::env::var_os(PREBUILT).is_none() {
        let mut cargo = cargo();
        cargo
            .args(["build", "--quiet", "--bins", "--package", "tripod-device-plugin", "--target-dir"])
            .arg(&target);
        // The variable replaces the workspace's flags, which ask for a static program.
        let status = cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=-crt-static").status()?;
        anyhow::ensure!(status.success(), "cargo build of a dynamic tripod-device-plugin failed: {status}");
    }
    Ok(target.join("x86_64-unknown-linux-gnu/debug/tripod-device-plugin"))
}

/// Compiles `tests/floor/<name>.c` into the target folder.
pub fn compile(name: &str) -> PathBuf {
    let folder = target_dir().join("floor");
    std::fs::create_dir_all(&folder).expect("a folder in the target folder");
    let source = workspace().join("tests/floor").join(name).with_extension("c");
    let program = folder.join(name);
    let status =
        Command::new("cc").args(["-O2", "-Wall", "-static", "-o"]).arg(&program).arg(&source).status();
    let status = status.unwrap_or_else(|error| {
        panic!(
            "cannot run cc: {error}; the floor is what everything is compared with: install gcc and libc6-dev"
        )
    });
    assert!(status.success(), "cc cannot compile {}", source.display());
    program
}

/// The checkout this harness was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// Cargo's target folder, which also holds everything the harness builds or unpacks.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
