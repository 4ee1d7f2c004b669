//! What is tried before anybody depends on it: whether a program runs on this node, executed once where it will
//! be; and whether a program can work with a configuration.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use crate::plan::Trial;

/// Far beyond what a program takes to tell its version, also on a node that has just started.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often to look whether it has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// How much of what it says is repeated, in bytes.
const LONGEST: usize = 600;

/// How `check-config` ends where it found mistakes, which are on its standard output.
const FOUND: i32 = 1;

/// Why a program or a configuration is not relied on.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The kernel does not execute it.
    #[error("{remedy}")]
    Start {
        /// What is wrong and what to do.
        remedy: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It goes on and on.
    #[error(
        "it had not ended after {DEADLINE:?}: it is damaged, or nothing else gets done on this node either"
    )]
    Late,
    /// It failed at the simplest task.
    #[error("it is damaged: have the node pull the image again. It ended with {status}, and said {said:?}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The beginning of what it said.
        said: String,
    },
    /// It cannot work with the configuration.
    #[error("{0}")]
    Mistake(String),
    /// It cannot be observed.
    #[error("it cannot be tried")]
    Observe(#[source] io::Error),
}

/// How a program ended, and the beginning of what it said.
type End = (ExitStatus, String);

/// Executes `program` once.
pub(super) fn run(program: &Path, trial: &Trial) -> Result<(), TrialError> {
    let mut command = Command::new(program);
    command.args(trial.arguments).env_clear().envs(trial.environment.iter().copied());
    match end(command, program)? {
        Some((status, said)) if !status.success() => Err(TrialError::Ended { status, said }),
        _ => Ok(()),
    }
}

/// Asks `program`, the credential provider, whether it can work with `configuration`. The files that it names
/// are the host's, which this container does not see.
pub(super) fn read(program: &Path, configuration: &Path) -> Result<(), TrialError> {
    let mut command = Command::new(program);
    command.args(["check-config", "--no-files", "--config"]).arg(configuration).env_clear();
    match end(command, program)? {
        Some((status, said)) if status.code() == Some(FOUND) => Err(TrialError::Mistake(said)),
        Some((status, said)) if !status.success() => Err(TrialError::Ended { status, said }),
        _ => Ok(()),
    }
}

/// None where this container alone may not execute it, which says nothing about the node, and is told.
fn end(mut command: Command, program: &Path) -> Result<Option<End>, TrialError> {
    let (reader, writer) = io::pipe().map_err(TrialError::Observe)?;
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(TrialError::Observe)?)
        .stderr(writer);
    match command.spawn() {
        Ok(child) => judge(child, reader).map(Some),
        Err(source) => match remedy(program, &source) {
            Some(remedy) => Err(TrialError::Start { remedy, source }),
            None => {
                let program = program.display();
                tracing::warn!(%program, error = %source, "not tried: a policy forbids this container to");
                Ok(None)
            }
        },
    }
}

fn judge(child: Child, said: PipeReader) -> Result<End, TrialError> {
    let (ended, said) = wait(child, said).map_err(TrialError::Observe)?;
    Ok((ended.ok_or(TrialError::Late)?, said))
}

/// How it ended, and the beginning of what it said, on one line. Nothing after the deadline; then it is gone, with
/// all that it started.
fn wait(mut child: Child, mut said: PipeReader) -> io::Result<(Option<ExitStatus>, String)> {
    // A child of it may hold the other end for longer.
    fcntl(&said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let (begin, mut kept) = (Instant::now(), Vec::new());
    let mut status = None;
    while status.is_none() && begin.elapsed() < DEADLINE {
        std::thread::sleep(PAUSE);
        status = child.try_wait()?;
        drain(&mut said, &mut kept)?;
    }
    if status.is_none() {
        killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL)?;
        child.wait()?;
    }
    Ok((status, String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Reads what is there, so that the program is not held up, and keeps the first [`LONGEST`] bytes. No more than a
/// pipe holds: who writes as fast as we read is to meet the deadline.
fn drain(said: &mut PipeReader, kept: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    for _ in 0..16 {
        match said.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => kept.extend(chunk.iter().take(length.min(LONGEST - kept.len()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What to do, where whoever executes it on the node would be refused as well.
fn remedy(program: &Path, error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) if is_noexec(program) => {
            Some("its folder is mounted noexec: mount it without, or choose another for it")
        }
        Some(Errno::EACCES | Errno::EPERM) => None,
        Some(Errno::ENOEXEC) => {
            Some("it is damaged or made for another processor: use an image for this node's architecture")
        }
        _ => Some("it cannot be started"),
    }
}

fn is_noexec(program: &Path) -> bool {
    statvfs(program).is_ok_and(|about| about.flags().contains(FsFlags::ST_NOEXEC))
}
