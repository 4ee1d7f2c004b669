//! A long-running program under test: what it writes to stderr is kept, and it ends with the value.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::eventually;
use crate::namespace::Namespace;

/// A running program.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts `command` in the machine's own namespaces.
    pub fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, folder }
    }

    /// Starts `command` in the namespaces of `node`.
    pub fn start_on(node: &Namespace, command: Command) -> Self {
        node.run(|| Self::start(command))
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("a log")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Waits until its log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log {:?}", self.log_path()), || self.log().contains(text));
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Asks it to end, and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("a child");
        self.wait()
    }

    /// Holds it still while `meanwhile` runs.
    pub fn held<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let signal =
            |signal| kill(Pid::from_raw(self.id().cast_signed()), signal).expect("a process of ours");
        signal(Signal::SIGSTOP);
        let result = meanwhile();
        signal(Signal::SIGCONT);
        result
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- stderr of the program:\n{}", self.log());
        }
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
