//! Running the program that resets a device, with nothing left of it when it takes too long.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::config::reset::Reset;
use crate::inventory::Snapshot;

/// So much of the end of what a hook says is looked at.
const MAX_OUTPUT: usize = 4096;
/// Longest last line that is told, in characters.
const MAX_LINE: usize = 200;
/// What a hook said last may still be on its way when it has ended. A child that it left behind may keep
/// the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// One run of a hook.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    reset: Reset,
    resource: String,
    id: String,
    nodes: String,
}

/// Why a device is not reset.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{}{}", status_words(*status), said(last_line))]
    Failed { status: ExitStatus, last_line: String },
    #[error("killed after {timeout:?}{}", said(last_line))]
    Deadline { timeout: Duration, last_line: String },
}

impl Errand {
    /// The run for the device `id` of `snapshot`; `None` when it is not there, or has no hook.
    pub(super) fn of(snapshot: &Snapshot, id: &str) -> Option<Errand> {
        let device = snapshot.find(id)?.device;
        let reset = snapshot.reset().filter(|_| device.vanished.is_none())?.clone();
        let nodes: Vec<_> = device.found.nodes.iter().map(|node| node.path.as_str()).collect();
        let resource = snapshot.resource().to_string();
        Some(Errand { reset, resource, id: id.to_owned(), nodes: nodes.join(" ") })
    }

    /// What is run.
    pub(super) fn program(&self) -> &str {
        &self.reset.program
    }

    /// Runs it to its end, or to the time limit.
    pub(super) async fn run(&self) -> Result<(), HookError> {
        let program = self.reset.program.clone();
        let (mut group, mut output) =
            self.spawn().map_err(|source| HookError::Start { program: program.clone(), source })?;
        let mut tail = Tail::default();
        let timeout = self.reset.timeout;
        let ended = tokio::time::timeout(timeout, group.end(&mut output, &mut tail)).await;
        let last_line = tail.last_line();
        match ended {
            Err(_elapsed) => Err(HookError::Deadline { timeout, last_line }),
            Ok(Err(source)) => Err(HookError::Start { program, source }),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(HookError::Failed { status, last_line }),
        }
    }

    fn spawn(&self) -> io::Result<(Group, Receiver)> {
        let (output, input) = io::pipe()?;
        let child = Command::new(&self.reset.program)
            .args(&self.reset.arguments)
            .env("TRIPOD_RESOURCE", &self.resource)
            .env("TRIPOD_DEVICE_ID", &self.id)
            .env("TRIPOD_DEVICE_NODES", &self.nodes)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .spawn()?;
        let group = Group(child);
        Ok((group, Receiver::from_owned_fd(OwnedFd::from(output))?))
    }
}

/// A hook and what it has started; killed when this is dropped before it has ended.
struct Group(Child);

impl Group {
    async fn end(&mut self, output: &mut Receiver, tail: &mut Tail) -> io::Result<ExitStatus> {
        let status = tokio::select! {
            status = self.0.wait() => status?,
            () = tail.follow(output) => self.0.wait().await?,
        };
        // That it has not ended by then is what a child left behind looks like.
        drop(tokio::time::timeout(LAST_WORDS, tail.follow(output)).await);
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended and been waited for, and the id may be another's by now.
        let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()) else { return };
        if let Err(error) = killpg(Pid::from_raw(leader), Signal::SIGKILL) {
            tracing::warn!(%error, leader, "cannot kill a reset hook");
        }
    }
}

/// The end of what was read.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Reads until nobody can write any more.
    async fn follow(&mut self, output: &mut Receiver) {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = output.read(&mut buffer).await {
            self.0.extend(buffer.iter().take(length));
            self.0.drain(..self.0.len().saturating_sub(MAX_OUTPUT));
        }
    }

    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        last.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE).collect()
    }
}

fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn said(last_line: &str) -> String {
    if last_line.is_empty() { String::new() } else { format!(": {last_line}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::config::resource_name::ResourceName;
    use crate::config::sharing::Sharing;
    use crate::inventory::tests::devices;

    fn errand(program: &Path, arguments: &[&str]) -> Errand {
        let reset = Reset {
            program: program.display().to_string(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            timeout: Duration::from_secs(1),
        };
        let name = ResourceName::parse("example.com/fpga").unwrap();
        let snapshot = Snapshot::new(name, devices(&["/dev/a"]), Sharing::EXCLUSIVE).resetting(Some(reset));
        Errand::of(&snapshot, "a").unwrap()
    }

    fn shell(script: &str) -> Errand {
        errand(Path::new("/bin/sh"), &["-c", script])
    }

    async fn failure(errand: Errand) -> String {
        errand.run().await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_hook_is_told_what_to_reset_and_reads_nothing() {
        let asks = "test \"$TRIPOD_RESOURCE $TRIPOD_DEVICE_ID $TRIPOD_DEVICE_NODES\" = \
                    'example.com/fpga a /dev/a' && test -z \"$(cat)\"";
        shell(asks).run().await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_has_the_last_line_of_what_was_said() {
        assert_eq!(
            failure(shell("echo out; echo no bitstream >&2; exit 3")).await,
            "exit status 3: no bitstream"
        );
        assert_eq!(failure(shell("exit 4")).await, "exit status 4");
        assert_eq!(failure(shell("kill -9 $$")).await, "killed by signal 9");
        let long = failure(shell("yes | head -c 1000000; printf '%0500d\\n\\n' 7; exit 1")).await;
        assert_eq!(long.len(), "exit status 1: ".len() + MAX_LINE);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let missing = failure(errand(Path::new("/no/such/hook"), &[])).await;
        assert_eq!(missing, "cannot run /no/such/hook: No such file or directory (os error 2)");
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("hook");
        std::fs::write(&plain, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(failure(errand(&plain, &[])).await.ends_with("Permission denied (os error 13)"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 300 & echo $! $$ > {}; echo waiting; wait", pids.display());
        assert_eq!(failure(shell(&script)).await, "killed after 1s: waiting");
        for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
            until_dead(pid).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_is_left_behind_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; echo done; exit 2", pid.display());
        assert_eq!(failure(shell(&script)).await, "exit status 2: done");
        let left: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
    }

    /// A process of which only the entry is left, until its parent waits for it, is dead.
    async fn until_dead(pid: &str) {
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        tokio::time::timeout(Duration::from_secs(20), async {
            while alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("process {pid} is alive"));
    }
}
