//! One run of the daemon.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::demand::Demand;
use super::program::Program;
use super::tail::Tail;

/// How long each way to end it has.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a dead daemon wrote may take to arrive: a server of its may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most lines of one run that are logged.
const MOST_LINES: usize = 50;

/// A running daemon. When it is dropped the daemon is killed.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    group: Pid,
    tail: Arc<Mutex<Tail>>,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it for the GPUs of `demand`, in the place of any that an earlier run left behind.
    pub(super) async fn start(program: &Program, demand: &Demand) -> Result<Daemon, String> {
        let mut command = program.command()?;
        program.make_folders().await?;
        if program.ask("quit").await.is_ok() {
            tracing::info!("an MPS daemon of an earlier run was told to end");
        }
        command.arg("-f").env("CUDA_VISIBLE_DEVICES", demand.uuids());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let group = child.id().ok_or("it ended at once")?;
        let tail = Arc::<Mutex<Tail>>::default();
        let mut readers: Vec<_> = child.stdout.take().map(|out| follow(out, &tail)).into_iter().collect();
        readers.extend(child.stderr.take().map(|err| follow(err, &tail)));
        tracing::info!(pid = group, gpus = demand.uuids(), "the MPS daemon is started");
        Ok(Daemon { child, group: Pid::from_raw(group.cast_signed()), tail, readers })
    }

    /// Waits for its end, and says how it came.
    pub(super) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("it ended with {status}"),
            Err(error) => format!("it cannot be waited for: {error}"),
        }
    }

    /// The last line it wrote, or logged; empty when it said nothing.
    pub(super) async fn last_words(&mut self, program: &Program) -> String {
        for reader in &mut self.readers {
            // Whatever is missing then stays unread.
            drop(timeout(LAST_WORDS, reader).await);
        }
        let last = lock(&self.tail).last().to_owned();
        if last.is_empty() { program.last_logged().await } else { last }
    }

    /// Ends it and every process it has started: asked by signal, by command, and at last not asked.
    pub(super) async fn stop(mut self, program: &Program) {
        if self.child.id().is_some() {
            tell_if_refused(self.group, kill(self.group, Signal::SIGTERM));
            if timeout(GRACE, self.child.wait()).await.is_err() {
                // Refused or not, its time is up after this.
                drop(program.ask("quit").await);
                drop(timeout(GRACE, self.child.wait()).await);
            }
        }
        self.end_group().await;
        if timeout(GRACE, self.child.wait()).await.is_err() {
            tracing::error!(pid = self.group.as_raw(), "the MPS daemon does not end, though it is killed");
        }
    }

    async fn end_group(&self) {
        if killpg(self.group, Signal::SIGTERM) == Err(Errno::ESRCH) {
            return;
        }
        let gone = async {
            while killpg(self.group, None) != Err(Errno::ESRCH) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(GRACE, gone).await.is_err() {
            tell_if_refused(self.group, killpg(self.group, Signal::SIGKILL));
        }
    }
}

/// That there is nobody to be signalled is what is wanted.
fn tell_if_refused(daemon: Pid, signalled: Result<(), Errno>) {
    if let Err(error) = signalled
        && error != Errno::ESRCH
    {
        tracing::warn!(%error, pid = daemon.as_raw(), "cannot signal the MPS daemon");
    }
}

/// Keeps the daemon from blocking on a full pipe, for as long as it writes.
fn follow(mut stream: impl AsyncRead + Unpin + Send + 'static, tail: &Arc<Mutex<Tail>>) -> JoinHandle<()> {
    let tail = tail.clone();
    tokio::spawn(async move {
        let (mut buffer, mut logged) = ([0; 1024], 0);
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let lines = lock(&tail).push(buffer.get(..length).unwrap_or_default());
            for line in lines.iter().take(MOST_LINES.saturating_sub(logged)) {
                tracing::debug!(line, "the MPS daemon says");
            }
            logged = logged.saturating_add(lines.len());
        }
    })
}

fn lock(tail: &Mutex<Tail>) -> std::sync::MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}
