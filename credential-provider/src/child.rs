//! Other programs, run for a bounded time: what they read, what they print, and their end.

mod output;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use thiserror::Error;

use crate::secret::SecretBytes;
use crate::step::Deadline;
use output::{LARGEST, Output};

/// Its output and its end are looked for in such steps.
const STEP: Duration = Duration::from_millis(2);

/// A program to run, in our own environment with `env` added, as the kubelet runs its providers.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(ExitStatus);

/// Why a program did not run to its end.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot run {program:?}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It takes too long.
    #[error("{program:?} was ended: it was not done when the time for an answer was over")]
    Deadline {
        /// The program.
        program: PathBuf,
    },
    /// It prints without end.
    #[error("{program:?} was ended: it printed more than {LARGEST} bytes")]
    Output {
        /// The program.
        program: PathBuf,
    },
    /// Its output could not be read.
    #[error("cannot read what {program:?} prints")]
    Read {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ChildError {
    /// What the admin can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Start { .. } => "install it there, with the right to execute it, or correct the path",
            Self::Deadline { .. } => "find out what it waits for, or raise defaults.deadline (up to 55s)",
            Self::Output { .. } | Self::Read { .. } => "run it by hand and look at what it prints",
        }
    }
}

impl Ended {
    /// Whether it ended with exit code 0.
    pub fn is_success(self) -> bool {
        self.0.success()
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, signal) => write!(f, "signal {}", signal.unwrap_or_default()),
        }
    }
}

impl Child<'_> {
    /// Runs it with `input` on stdin until it ends, and returns how, and what it printed on stdout by then. At its
    /// end, or at the deadline, all that it started is ended too: a grandchild that kept stdout would keep the
    /// kubelet waiting.
    pub(crate) fn run(
        &self,
        input: SecretBytes,
        deadline: Deadline,
    ) -> Result<(Ended, SecretBytes), ChildError> {
        let mut child = self.start()?;
        let stdin = child.stdin.take();
        // Who does not read must not keep us from looking at the clock.
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.expose())));
        let outcome = self.follow(&mut child, deadline);
        // Its number is its group's, and nobody else's for as long as it is not reaped.
        let _gone = killpg(pid(&child), Signal::SIGKILL);
        let status = child.wait();
        let output = outcome?;
        let status = status.map_err(|source| self.unreadable(source))?;
        Ok((Ended(status), output))
    }

    fn start(&self) -> Result<std::process::Child, ChildError> {
        let mut command = Command::new(self.program);
        command.args(self.args).envs(self.env).process_group(0);
        // What goes to stderr could hold a secret, and would end in the kubelet's log.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|source| ChildError::Start { program: self.program.to_owned(), source })
    }

    /// What it prints until it has ended, which leaves it to be reaped.
    fn follow(&self, child: &mut std::process::Child, deadline: Deadline) -> Result<SecretBytes, ChildError> {
        let mut output = Output::of(child).map_err(|source| self.unreadable(source))?;
        loop {
            // Looked at first: what it has printed is then all there.
            let ended = has_ended(child).map_err(|source| self.unreadable(source))?;
            if !output.read().map_err(|source| self.unreadable(source))? {
                return Err(ChildError::Output { program: self.program.to_owned() });
            }
            if ended {
                return Ok(output.into_bytes());
            }
            if deadline.is_past() {
                return Err(ChildError::Deadline { program: self.program.to_owned() });
            }
            std::thread::sleep(deadline.left().min(STEP));
        }
    }

    fn unreadable(&self, source: io::Error) -> ChildError {
        ChildError::Read { program: self.program.to_owned(), source }
    }
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Whether it has ended. It is not reaped by this.
fn has_ended(child: &std::process::Child) -> io::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(waitid(Id::Pid(pid(child)), flags)? != WaitStatus::StillAlive)
}

#[cfg(test)]
mod tests;
