//! IPAM plugins of others, executed by the specification's rules (section "Plugin Delegation"): found in
//! `CNI_PATH`, with the environment and the configuration that we were given, and the verb that is due.

mod answer;

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::error::{self, Error, Fault, shorten};
use crate::patience::{aside, pause};
use crate::record::Record;
use crate::spec::Args;
pub(crate) use answer::Answer;

/// How long a plugin may take: less than an ADD, so that what it did is undone in time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longest document accepted from a plugin, in bytes.
const LONGEST: u64 = 1 << 20;

/// What a failure without a code of its own becomes, as in the reference library.
const UNKNOWN: u32 = 999;

/// How often a program that is being replaced is tried again, each time a moment later.
const TRIES: u32 = 20;

/// The plugins that a call may execute.
#[derive(Clone, Debug)]
pub(crate) struct Plugins {
    folders: Vec<PathBuf>,
    conf: Arc<[u8]>,
    deadline: Duration,
}

/// The error document of a plugin.
#[derive(Debug, Deserialize)]
struct Refusal {
    code: u32,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    details: Option<String>,
}

impl Plugins {
    /// Those in `CNI_PATH`, to be given `conf` as it came.
    pub(crate) fn new(args: &Args, conf: &[u8]) -> Self {
        Self { folders: args.path.clone(), conf: conf.into(), deadline: DEADLINE }
    }

    /// None at all, for who is not a runtime's.
    pub(crate) fn none() -> Self {
        Self { folders: Vec::new(), conf: [].into(), deadline: DEADLINE }
    }

    /// Where `plugin` is.
    pub(crate) fn find(&self, plugin: &str) -> Result<PathBuf, Error> {
        let mut candidates = self.folders.iter().map(|folder| folder.join(plugin));
        let path = self.folders.iter().map(|folder| folder.display().to_string());
        candidates.find(|program| program.is_file()).ok_or_else(|| Error::PluginMissing {
            plugin: plugin.to_owned(),
            path: path.collect::<Vec<_>>().join(":"),
        })
    }

    /// Asks `plugin` for addresses.
    pub(crate) fn add(&self, plugin: &str) -> Result<Answer, Error> {
        let text = self.call(plugin, "ADD", None)?;
        Answer::parse(&text).map_err(|fault| failed(plugin, "ADD", fault))
    }

    /// Gives back what `plugin` gave to the attachment of `record`.
    pub(crate) fn release(&self, plugin: &str, record: &Record) -> Result<(), Error> {
        self.call(plugin, "DEL", Some(record)).map(drop)
    }

    /// Executes `plugin` for a verb that has no answer.
    pub(crate) fn forward(&self, plugin: &str, verb: &'static str) -> Result<(), Error> {
        self.call(plugin, verb, None).map(drop)
    }

    /// For the attachment of `record`, or for the one that we were called for.
    fn call(&self, plugin: &str, verb: &'static str, record: Option<&Record>) -> Result<Vec<u8>, Error> {
        let failed = |fault| failed(plugin, verb, fault);
        let mut command = Command::new(self.find(plugin)?);
        command.env("CNI_COMMAND", verb).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if let Some(record) = record {
            command.env("CNI_CONTAINERID", &record.container_id).env("CNI_IFNAME", &record.ifname);
            command.env("CNI_NETNS", &record.netns);
        }
        let mut child = start(command).map_err(|source| failed(Fault::Start(source)))?;
        let group = Group::of(&child);
        let talked = self.talk(&mut child);
        match &talked {
            Ok(_) => group.ended(),
            Err(_) => drop(group),
        }
        // Reaped, so that nothing of it is left when the undoing begins.
        let status = child.wait();
        let text = talked.map_err(failed)?;
        let success = status.map_err(|source| failed(Fault::Start(source)))?.success();
        if success { Ok(text) } else { Err(refusal(plugin, verb, &text)) }
    }

    /// What `child`, which has ended then, answers to our configuration.
    fn talk(&self, child: &mut Child) -> Result<Vec<u8>, Fault> {
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fault::Start(io::Error::other("no pipes")));
        };
        let (conf, id) = (Arc::clone(&self.conf), process(child));
        let late = |error| match error {
            error if error::is(&error, Errno::ETIMEDOUT) => Fault::Hung { seconds: self.deadline.as_secs() },
            error => Fault::Start(error),
        };
        let talk = move || {
            let text = converse(stdin, stdout, conf)?;
            // Which leaves it to be reaped, so that its group cannot be another one's meanwhile.
            let ended = waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            ended.map(|_| text).map_err(|errno| Fault::Start(errno.into()))
        };
        aside(self.deadline, talk).map_err(late).flatten()
    }
}

/// The kernel's numbers fit. Were one not to, it must not become 0, by which a signal reaches our own group.
fn process(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// A plugin and whatever it started, killed together when nobody waits for it any more: a child of it
/// would keep our standard error open, and with it the runtime waiting.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(Some(process(child)))
    }

    /// The plugin has answered; what it left running is meant to run.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left to hear that it is gone already.
            killpg(leader, Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// A program that somebody is writing at this moment cannot be executed (`ETXTBSY`).
fn start(mut command: Command) -> io::Result<Child> {
    for _ in 0..TRIES {
        match command.spawn() {
            Err(source) if error::is(&source, Errno::ETXTBSY) => pause(Duration::from_millis(50))?,
            started => return started,
        }
    }
    command.spawn()
}

/// Hands over the configuration and takes the answer.
fn converse(mut stdin: ChildStdin, stdout: ChildStdout, conf: Arc<[u8]>) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    // A plugin may end, or answer, without having read anything; its answer says what counts.
    let hand_over = move || stdin.write_all(&conf).unwrap_or_default();
    thread::Builder::new().spawn(hand_over).map_err(Fault::Start)?;
    stdout.take(LONGEST + 1).read_to_end(&mut text).map_err(Fault::Start)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
        return Err(Fault::TooLong { limit: LONGEST });
    }
    Ok(text)
}

fn failed(plugin: &str, verb: &'static str, fault: Fault) -> Error {
    Error::Plugin { plugin: plugin.to_owned(), verb, fault }
}

fn refusal(plugin: &str, verb: &'static str, text: &[u8]) -> Error {
    match serde_json::from_slice(text) {
        Ok(Refusal { code, msg, details }) => Error::Delegated {
            plugin: plugin.to_owned(),
            verb,
            // A failure of ours that claims 0 would be a success to whoever looks at the code.
            code: if code == 0 { UNKNOWN } else { code },
            msg: shorten(&msg),
            details: details.filter(|details| !details.is_empty()).map(|details| shorten(&details)),
        },
        Err(_) => failed(plugin, verb, Fault::no_document(text)),
    }
}

#[cfg(test)]
mod tests;
