//! One run of the emulator.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::cluster::interrupt::{self, Watched};

/// Far beyond what the tests need; a guest that hangs ends with it.
const LIMIT: Duration = Duration::from_secs(45 * 60);
/// A kernel that is in trouble ends the run instead of going on; only what it calls an error is shown. Its
/// own tests of the hardware's time would fail by chance, since other programs run on this machine too.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off \
    no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1";

/// Files of one run.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// The guest's verdict.
    pub(super) verdict: PathBuf,
    /// All that the guest says.
    pub(super) log: PathBuf,
}

impl Boot {
    /// Those below `folder`.
    pub(super) fn new(folder: &Path, kernel: PathBuf) -> Self {
        let file = |name: &str| folder.join(name);
        Self { kernel, initramfs: file("initramfs.cpio"), verdict: file("verdict"), log: file("console.log") }
    }
}

/// Boots, shows what the guest says, and waits. Returns whether the test program exited with 0.
pub(super) fn run(mut qemu: Command, boot: &Boot) -> anyhow::Result<bool> {
    for stale in [&boot.verdict, &boot.log].into_iter().filter(|path| path.exists()) {
        fs::remove_file(stale)?;
    }
    qemu.args(arguments(boot));
    let start = Instant::now();
    let mut emulator = Emulator::start(&qemu)?;
    while !emulator.has_ended()? {
        anyhow::ensure!(
            start.elapsed() < LIMIT,
            "the guest has not ended within {} minutes and was stopped; its last words: {}",
            LIMIT.as_secs() / 60,
            boot.log.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = emulator.end()?;
    println!("the guest ran for {:.0} s", start.elapsed().as_secs_f32());
    let verdict = fs::read_to_string(&boot.verdict).unwrap_or_default();
    passed(&verdict).with_context(|| format!("qemu: {status}; see {}", boot.log.display()))
}

/// What the guest wrote on its second serial line.
fn passed(verdict: &str) -> anyhow::Result<bool> {
    let code = verdict.trim().strip_prefix("exit ").and_then(|code| code.parse::<u8>().ok());
    Ok(code.context("the guest ended before the tests did: its kernel or its first process gave up")? == 0)
}

/// The emulator's command line: no device but two serial lines and this machine's files.
fn arguments(boot: &Boot) -> Vec<OsString> {
    let path = |path: &Path| path.as_os_str().to_owned();
    let console = format!("stdio,id=console,signal=off,logfile={}", value(&boot.log));
    let mut arguments: Vec<OsString> =
        ["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from).into();
    for (name, setting) in [
        ("-machine", "q35".into()),
        ("-accel", "tcg".into()),
        ("-cpu", "max".into()),
        ("-smp", "2".into()),
        ("-m", "2G".into()),
        ("-display", "none".into()),
        ("-chardev", console.into()),
        ("-serial", "chardev:console".into()),
        ("-serial", format!("file:{}", boot.verdict.display()).into()),
        ("-virtfs", "local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap".into()),
        ("-kernel", path(&boot.kernel)),
        ("-initrd", path(&boot.initramfs)),
        ("-append", KERNEL_ARGUMENTS.into()),
    ] {
        arguments.extend([name.into(), setting]);
    }
    arguments
}

/// A path within a list of settings, where a comma would end it.
fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The running emulator. It ends with this value, on Ctrl-C, and with this process, however that ends.
#[derive(Debug)]
struct Emulator {
    child: Child,
    watched: Option<Watched>,
}

impl Emulator {
    fn start(qemu: &Command) -> anyhow::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(qemu.get_program()).args(qemu.get_args());
        // In a group of its own: Ctrl-C is for this process.
        let child = command.process_group(0).stdin(Stdio::null()).spawn().context("setpriv qemu")?;
        let watched = interrupt::watch(Pid::from_raw(i32::try_from(child.id())?));
        Ok(Self { child, watched: Some(watched) })
    }

    /// Leaves it to be reaped, as long as it is watched.
    fn has_ended(&self) -> anyhow::Result<bool> {
        let id = Id::Pid(Pid::from_raw(i32::try_from(self.child.id())?));
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(id, flags)? != WaitStatus::StillAlive)
    }

    fn end(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        drop(self.watched.take());
        // One that has ended cannot be killed, and need not be.
        self.child.kill().ok();
        Ok(self.child.wait()?)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("qemu: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot {
        Boot::new(Path::new("/target/a,b/kernel"), "/boot/vmlinuz".into())
    }

    /// The setting that follows `name`, for the `index`th time.
    fn setting(name: &str, index: usize) -> String {
        let words = arguments(&boot());
        let mut found = words.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].clone());
        found.nth(index).expect(name).into_string().expect("text")
    }

    #[test]
    fn the_guest_cannot_write_to_this_machine() {
        assert!(setting("-virtfs", 0).split(',').any(|one| one == "readonly=on"));
    }

    #[test]
    fn paths_reach_the_emulator_whole() {
        assert_eq!(
            setting("-chardev", 0),
            "stdio,id=console,signal=off,logfile=/target/a,,b/kernel/console.log"
        );
        assert_eq!(setting("-serial", 1), "file:/target/a,b/kernel/verdict");
        assert_eq!(setting("-initrd", 0), "/target/a,b/kernel/initramfs.cpio");
    }

    #[test]
    fn a_guest_that_says_nothing_has_not_passed() {
        assert!(passed("exit 0\r\n").unwrap());
        assert!(!passed("exit 101\r\n").unwrap());
        for silent in ["", "exit", "exit \r\n", "0"] {
            assert!(passed(silent).unwrap_err().to_string().contains("before the tests did"), "{silent:?}");
        }
    }
}
