//! The namespace tests on Debian's kernel, for what the kernel of this machine lacks.
//!
//! qemu runs it without hardware help, so that any machine will do, also one that is virtual itself. The
//! guest sees this machine's files, read-only, below a layer of its own in memory: it runs the very
//! programs that cargo has built here, with the tools that are installed here, and nothing that it
//! writes outlives it.

mod archive;
mod guest;
mod modules;
mod packages;
mod qemu;
mod shell;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::Context;

use self::guest::Errand;
use self::packages::Packages;
use self::qemu::Boot;
use crate::cluster::interrupt;
use crate::cluster::progress::step;
use crate::e2e::Verdict;
use crate::programs;

/// What runs when nobody asks for something else: the plugin whose work is the kernel's.
const DEFAULT: &str = "cni::";

/// Boots the kernel and runs those tests there that `filters` select as they do with `cargo test`.
pub fn run(filters: &[String]) -> anyhow::Result<Verdict> {
    interrupt::listen()?;
    let outcome = run_guest(filters);
    if interrupt::requested() {
        println!("interrupted");
        return Ok(Verdict::Interrupted);
    }
    let passed = outcome?;
    println!("{}", if passed { "all passed" } else { "failed, as told above" });
    Ok(if passed { Verdict::Passed } else { Verdict::Failed })
}

/// Returns whether all tests passed.
fn run_guest(filters: &[String]) -> anyhow::Result<bool> {
    let folder = std::path::absolute(programs::target_dir().join("kernel"))?;
    fs::create_dir_all(&folder)?;
    let _turn = take_turn(&folder)?;
    let packages = Packages::prepare(&folder)?;
    interrupt::check()?;
    let tests = step("build the programs and the tests", || {
        programs::build_ahead()?;
        programs::test_program("cases")
    })?;
    interrupt::check()?;
    let default = [DEFAULT.to_owned()];
    let errand = Errand {
        program: &tests,
        arguments: if filters.is_empty() { &default } else { filters },
        target: &std::path::absolute(programs::target_dir())?,
    };
    let boot = Boot::new(&folder, packages.kernel());
    fs::write(&boot.initramfs, guest::initramfs(&packages, &errand)?)?;
    println!(
        "Linux {} in qemu, without hardware help; all it says: {}",
        packages.release(),
        boot.log.display()
    );
    qemu::run(packages.qemu(), &boot)
}

/// Waits until no other run uses `folder`. The turn ends with the file, or with the process.
fn take_turn(folder: &Path) -> anyhow::Result<File> {
    let lock = File::create(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => {
            println!("another run goes on in this checkout; this one waits for it")
        }
        Err(TryLockError::Error(error)) => return Err(error).context("lock"),
    }
    lock.lock()?;
    Ok(lock)
}
