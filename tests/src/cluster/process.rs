//! A long-running program with a log file of its own.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How many lines of a log tell a person enough to know where to look.
const TAIL: usize = 15;
/// As many of those that tell of an error, where a program goes on after it.
const COMPLAINTS: usize = 6;
/// Longer lines are cut.
const WIDTH: usize = 300;
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One started program. Ending it is the owner's task: dropping this value does not.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command`, which appends all it says to `log`.
    pub fn start(name: &str, log: PathBuf, command: &mut Command) -> anyhow::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("log {}", log.display()))?;
        // In a group of its own: Ctrl-C is for this process, which takes the rest down in order.
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {name}: {:?}", command.get_program()))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fails when the program has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow::anyhow!("{} has ended: {status}", self.name)),
        }
    }

    /// Asks the program to end, insists after a while, and returns when it has.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        self.signal(Signal::SIGTERM)?;
        while start.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends `signal` to the program unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        }
        Ok(())
    }

    /// Waits for a program that was ended by other means.
    pub fn reap(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// What a person wants to know about it after a failure.
    pub fn describe(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                format!("{} has ended ({status}), its log with:\n{}", self.name, tail(&self.log))
            }
            Ok(None) => format!("{} is running; its complaints:\n{}", self.name, complaints(&self.log)),
            Err(error) => format!("{}: {error}", self.name),
        }
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    last_lines(log, TAIL, |_| true)
}

/// The last lines that klog or containerd marked as errors.
fn complaints(log: &Path) -> String {
    let error =
        |line: &str| line.starts_with('E') || line.contains("level=error") || line.contains("level=fatal");
    last_lines(log, COMPLAINTS, error)
}

fn last_lines(log: &Path, count: usize, wanted: impl Fn(&str) -> bool) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
    lines.iter().skip(lines.len().saturating_sub(count)).fold(String::new(), |mut out, line| {
        writeln!(out, "    {}", line.chars().take(WIDTH).collect::<String>()).expect("a string takes all");
        out
    })
}
