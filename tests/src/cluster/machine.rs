//! A throwaway machine made of kernel namespaces: its own network, mounts, processes and host name.
//!
//! Its first process adopts and reaps orphans. When that process ends, the kernel kills all others, and
//! with the last of them go the mounts and the network: nothing has to be found and undone. The first
//! process dies with this one, even if this one is killed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually::eventually;
use super::filesystem;
use super::interrupt::{self, Watched};
use super::namespaces::Namespaces;
use super::process::Process;
use super::programs::Programs;
use super::state::StateFolder;

/// One machine with the programs that were started on it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    logs: PathBuf,
    search_path: String,
    temporary: PathBuf,
    anchor: Child,
    init: u32,
    namespaces: Option<Namespaces>,
    processes: Mutex<Vec<Process>>,
    watched: Option<Watched>,
}

impl Machine {
    /// Makes a machine whose only link is a loopback that is up, and which can write to the files of
    /// `state` only.
    pub fn create(name: &str, programs: &Programs, state: &StateFolder) -> anyhow::Result<Self> {
        let mut anchor = Command::new("setpriv");
        anchor.args(["--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]);
        anchor.args(["--mount", "--net", "--uts", "--ipc", "--"]).arg(programs.catatonit()).arg("-P");
        let log = fs::File::create(state.logs().join(format!("{name}.log")))?;
        anchor.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let anchor = anchor.spawn().context("setpriv unshare")?;
        let mut machine = Self {
            name: name.to_owned(),
            logs: state.logs().to_owned(),
            search_path: programs.search_path(),
            temporary: state.temporary().to_owned(),
            anchor,
            init: 0,
            namespaces: None,
            processes: Mutex::default(),
            watched: None,
        };
        let what = format!("machine {name} has its first process, see {}", state.logs().display());
        machine.init =
            eventually(&what, Duration::from_secs(10), || first_child(machine.anchor.id(), "catatonit"))?;
        machine.watched = Some(interrupt::watch(Pid::from_raw(i32::try_from(machine.init)?)));
        machine.namespaces = Some(Namespaces::open(machine.init)?);
        machine.within(|| {
            fs::write("/proc/sys/kernel/hostname", name)?;
            filesystem::protect(state.path())
        })?;
        machine.ip(&["link", "set", "lo", "up"])?;
        Ok(machine)
    }

    /// Its name, which is also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of its first process, as the harness sees it.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Does `work` inside of the machine.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.namespaces().within(work)
    }

    /// Does `work` with the machine's network, but the harness's own files.
    pub fn within_network<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.namespaces().within_network(work)
    }

    /// Starts a program that keeps running under `name`, which is also the name of its log.
    pub fn start(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        interrupt::check()?;
        let log = self.logs.join(format!("{}-{name}.log", self.name));
        command.envs(self.environment());
        let process = Process::start(name, log, command, |command| self.within(|| Ok(command.spawn()?)))?;
        self.processes().push(process);
        Ok(())
    }

    /// Ends the program `name` and waits until it has gone.
    pub fn stop(&self, name: &str) -> anyhow::Result<()> {
        let mut processes = self.processes();
        let at = processes.iter().position(|process| process.name() == name);
        let mut process = processes.remove(at.with_context(|| format!("no {name} on {}", self.name))?);
        process.stop().map(drop)
    }

    /// Fails when one of the machine's programs has ended by itself.
    pub fn alive(&self) -> anyhow::Result<()> {
        let mut processes = self.processes();
        processes
            .iter_mut()
            .try_for_each(|process| process.alive().with_context(|| format!("on {}", self.name)))
    }

    /// Runs `command` on the machine to its end and returns what it printed. A failure carries stderr.
    pub fn run(&self, command: &mut Command) -> anyhow::Result<String> {
        interrupt::check()?;
        command.envs(self.environment());
        succeeded(command, |command| self.within(|| Ok(command.output()?)))
    }

    /// Runs a command line on the machine.
    pub fn exec<S: AsRef<str>>(&self, words: &[S]) -> anyhow::Result<String> {
        self.run(&mut command_line(words))
    }

    /// Runs `ip` with the machine's network but the harness's files and process ids, so that it can name
    /// other machines by the id of their first process.
    pub fn ip(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("ip");
        command.args(words);
        succeeded(&mut command, |command| self.within_network(|| Ok(command.output()?)))
    }

    /// State of all programs and the ends of their logs, for a person who looks into a failure.
    pub fn describe(&self) -> String {
        let mut processes = self.processes();
        processes.iter_mut().map(|process| format!("[{}] {}", self.name, process.describe())).collect()
    }

    fn environment(&self) -> [(&'static str, &OsStr); 2] {
        [("PATH", self.search_path.as_ref()), ("TMPDIR", self.temporary.as_ref())]
    }

    fn namespaces(&self) -> &Namespaces {
        self.namespaces.as_ref().expect("a machine that was created has namespaces")
    }

    fn processes(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.processes.lock().expect("no panic holds the process list")
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.watched = None;
        self.namespaces = None;
        // While its parent lives, the first process's id is its own.
        if self.anchor.try_wait()?.is_none() {
            let first = if self.init == 0 { self.anchor.id() } else { self.init };
            // It may be gone already, as after an interruption; then only the reaping is left.
            kill(Pid::from_raw(i32::try_from(first)?), Signal::SIGKILL).ok();
        }
        // The kernel holds the first process back until every member of its namespace is reaped, and the
        // programs started from here are our children.
        for mut process in self.processes().drain(..) {
            process.reap()?;
        }
        self.anchor.wait().context("reap the machine")?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("machine {}: {error:#}", self.name);
        }
    }
}

/// A command of words, the first of which is the program.
pub fn command_line<S: AsRef<str>>(words: &[S]) -> Command {
    let (program, arguments) = words.split_first().expect("a command line names its program");
    let mut command = Command::new(program.as_ref());
    command.args(arguments.iter().map(AsRef::as_ref));
    command
}

/// What `run` of a command printed. A failure carries stderr.
pub(super) fn succeeded(
    command: &mut Command,
    run: impl FnOnce(&mut Command) -> anyhow::Result<Output>,
) -> anyhow::Result<String> {
    let output = run(command).with_context(|| format!("{command:?}"))?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = || command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    anyhow::ensure!(
        output.status.success(),
        "{} {}: {}: {}{}",
        command.get_program().to_string_lossy(),
        line(),
        output.status,
        complained.trim_end(),
        said.trim_end()
    );
    Ok(said.into_owned())
}

fn first_child(parent: u32, name: &str) -> anyhow::Result<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let child = children.split_whitespace().next().context("no child yet")?;
    let comm = fs::read_to_string(format!("/proc/{child}/comm"))?;
    anyhow::ensure!(comm.trim() == name, "the child is still {comm}");
    Ok(child.parse()?)
}
