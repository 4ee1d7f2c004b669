//! The programs of the image, built by cargo.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Static, so that the first two run on any host that the image's own files are not on.
const STATIC: [&str; 3] = ["tripod-cni", "tripod-credential-provider", "tripod-node"];
const DYNAMIC: &str = "tripod-device-plugin";

/// The packages whose programs are in the image.
pub(crate) const ALL: [&str; 4] = [STATIC[0], STATIC[1], STATIC[2], DYNAMIC];

/// That of the machine that builds.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// A build that failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo itself cannot be run.
    #[error("cannot run {cargo:?}")]
    Run {
        /// The program tried.
        cargo: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Cargo said why on its own output.
    #[error("the build of {packages} failed: {status}")]
    Failed {
        /// What was to be built.
        packages: String,
        /// How cargo ended.
        status: ExitStatus,
    },
}

/// Builds the static programs. Returns their paths.
pub(crate) fn build_static(workspace: &Path, target: &Path) -> Result<Vec<PathBuf>, BuildError> {
    // One at a time: built together, they would share features, and each program would carry what only
    // another one needs.
    STATIC.iter().map(|package| build(workspace, target, package, &[])).collect()
}

/// Builds the dynamic program. Returns its path.
pub(crate) fn build_dynamic(workspace: &Path, target: &Path) -> Result<PathBuf, BuildError> {
    // The variable replaces the workspace's flags. Added to them it would change nothing: of two words
    // about the C runtime, the compiler takes the one for a static program. In a folder of its own, since
    // other flags mean other builds of everything.
    let flags = [("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=-crt-static")];
    build(workspace, &target.join("dynamic"), DYNAMIC, &flags)
}

fn build(
    workspace: &Path,
    target: &Path,
    package: &str,
    env: &[(&str, &str)],
) -> Result<PathBuf, BuildError> {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(&cargo);
    command.current_dir(workspace).args([
        "build",
        "--release",
        "--quiet",
        "--package",
        package,
        "--bin",
        package,
    ]);
    let triple = self::target();
    command.args(["--target", &triple]).arg("--target-dir").arg(target).envs(env.iter().copied());
    let status = command.status().map_err(|source| BuildError::Run { cargo, source })?;
    if !status.success() {
        return Err(BuildError::Failed { packages: package.to_owned(), status });
    }
    Ok(target.join(triple).join("release").join(package))
}
