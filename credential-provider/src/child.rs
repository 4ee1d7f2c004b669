//! Other programs, run for a bounded time: what they read, what they print, and their end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;

use crate::file::read_bounded;
use crate::secret::SecretBytes;
use crate::step::Deadline;

/// Most that is read of what a program prints, in bytes.
const LARGEST_OUTPUT: u64 = 1 << 20;
/// An end that has begun is waited for in such steps.
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
    #[error("{program:?} was ended: it printed more than {LARGEST_OUTPUT} bytes")]
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
    /// Runs it with `input` on stdin, and returns how it ended and what it printed on stdout. At the deadline
    /// it is ended, with all that it started: a grandchild that kept stdout would keep the kubelet waiting.
    pub(crate) fn run(
        &self,
        input: SecretBytes,
        deadline: Deadline,
    ) -> Result<(Ended, SecretBytes), ChildError> {
        let mut child = self.start()?;
        let group = Pid::from_raw(child.id().cast_signed());
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // Whoever neither reads nor writes must not keep us from looking at the clock.
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.expose())));
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || sender.send(stdout.map(|out| read_bounded(out, LARGEST_OUTPUT))));
        let output = output.recv_timeout(deadline.left());
        let ended = match &output {
            Ok(Some(Ok(Some(_)))) => self.wait(&mut child, deadline),
            _ => Ok(None),
        };
        // It may be gone already; what it started may not.
        let _gone = killpg(group, Signal::SIGKILL);
        let _reaped = child.wait();
        let program = || self.program.to_owned();
        match (output, ended) {
            (Ok(Some(Ok(Some(output)))), Ok(Some(status))) => Ok((Ended(status), output)),
            (Ok(Some(Ok(None))), _) => Err(ChildError::Output { program: program() }),
            (Ok(Some(Err(source))), _) | (_, Err(source)) => {
                Err(ChildError::Read { program: program(), source })
            }
            _ => Err(ChildError::Deadline { program: program() }),
        }
    }

    fn start(&self) -> Result<std::process::Child, ChildError> {
        let mut command = Command::new(self.program);
        command.args(self.args).envs(self.env).process_group(0);
        // What goes to stderr could hold a secret, and would end in the kubelet's log.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|source| ChildError::Start { program: self.program.to_owned(), source })
    }

    fn wait(&self, child: &mut std::process::Child, deadline: Deadline) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if deadline.left().is_zero() {
                return Ok(None);
            }
            std::thread::sleep(STEP);
        }
    }
}
