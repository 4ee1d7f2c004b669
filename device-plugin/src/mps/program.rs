//! The program `nvidia-cuda-mps-control`, which is the daemon with `-f` and otherwise takes commands for it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::tail::Tail;
use crate::hostroot::HostRoot;

/// What containers, and the daemon, have as shared memory.
pub(super) const SHM: &str = "/dev/shm";
/// Below the driver root.
const PROGRAM: &str = "/usr/bin/nvidia-cuda-mps-control";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 4096;
/// The files the daemon and its servers log to.
const LOGS: [&str; 2] = ["control.log", "server.log"];
/// A log of more bytes is cut.
const LARGEST_LOG: u64 = 4 * 1024 * 1024;

/// Where the program is, and the folders it works with.
#[derive(Clone, Debug)]
pub(super) struct Program {
    root: HostRoot,
    path: String,
    pipe: PathBuf,
    log: PathBuf,
    shm: PathBuf,
}

impl Program {
    pub(super) fn new(root: HostRoot, driver_root: &str, dir: &Path) -> Program {
        let path = format!("{}{PROGRAM}", driver_root.trim_end_matches('/'));
        Program { root, path, pipe: dir.join("pipe"), log: dir.join("log"), shm: dir.join("shm") }
    }

    /// The folder of the daemon's sockets.
    pub(super) fn pipe(&self) -> &Path {
        &self.pipe
    }

    /// The folder of the memory that is shared.
    pub(super) fn shm(&self) -> &Path {
        &self.shm
    }

    /// The program, in a process group of its own. It is looked for each time: a driver may be installed later.
    pub(super) fn command(&self) -> Result<Command, String> {
        let path = &self.path;
        let missing = || format!("there is no {path} on the node: install the programs of NVIDIA's driver");
        let file = self.root.locate(&self.root.resolve(path).ok_or_else(missing)?);
        let mut command = Command::new(&file);
        // The daemon looks for the server, which lies beside it, as a shell would.
        let beside = file.parent().unwrap_or(Path::new("/")).display().to_string();
        command
            .env("PATH", format!("{beside}:/usr/bin:/bin"))
            .env("CUDA_MPS_PIPE_DIRECTORY", &self.pipe)
            .env("CUDA_MPS_LOG_DIRECTORY", &self.log)
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Has the daemon do `command`, and gives what it says.
    pub(super) async fn ask(&self, command: &str) -> Result<String, String> {
        match timeout(PATIENCE, self.answer(command)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!("{command}: no answer for {PATIENCE:?}")),
        }
    }

    async fn answer(&self, text: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("{text}: {error}");
        let mut command = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends without reading says why by other means.
            drop(stdin.write_all(format!("{text}\n").as_bytes()).await);
        }
        let (said, complained) = tokio::join!(read(stdout), read(stderr));
        let status = child.wait().await.map_err(failed)?;
        let words = format!("{} {}", said.trim(), complained.trim()).trim().to_owned();
        if status.success() { Ok(words) } else { Err(format!("{text}: {status}: {words}")) }
    }

    /// Makes the folders, and forgets what an earlier daemon logged.
    pub(super) async fn make_folders(&self) -> Result<(), String> {
        for (folder, mode) in [(&self.pipe, 0o755), (&self.log, 0o755), (&self.shm, 0o1777)] {
            let made = async {
                fs::create_dir_all(folder).await?;
                fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).await
            };
            made.await.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        for name in LOGS {
            // There need be none.
            drop(fs::remove_file(self.log.join(name)).await);
        }
        self.tell_if_memory_is_apart().await;
        Ok(())
    }

    async fn tell_if_memory_is_apart(&self) {
        let (ours, theirs) = (fs::metadata(SHM).await, fs::metadata(&self.shm).await);
        let inode = |folder: &std::fs::Metadata| (folder.dev(), folder.ino());
        if ours.ok().as_ref().map(inode) != theirs.ok().as_ref().map(inode) {
            let shm = self.shm.display();
            tracing::warn!(
                "{SHM} of this container is not {shm}, which containers get as theirs: they may not reach the \
                 MPS daemon; mount the host's {shm} at {SHM} of this container"
            );
        }
    }

    /// Keeps the logs, which nobody else looks after, from filling memory.
    pub(super) async fn cut_logs(&self) {
        for name in LOGS {
            let path = self.log.join(name);
            let blocks = fs::metadata(&path).await.map(|file| file.blocks()).unwrap_or(0);
            if blocks.saturating_mul(512) <= LARGEST_LOG {
                continue;
            }
            let cut = fs::OpenOptions::new().write(true).truncate(true).open(&path).await;
            if let Err(error) = cut {
                tracing::warn!(%error, file = %path.display(), "cannot cut a log of the MPS daemon");
            }
        }
    }

    /// The last line of the daemon's log; empty when there is none.
    pub(super) async fn last_logged(&self) -> String {
        let mut tail = Tail::default();
        let [control, ..] = LOGS;
        tail.push(&fs::read(self.log.join(control)).await.unwrap_or_default());
        tail.last().to_owned()
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // As much as there is; the status tells the rest.
        drop(stream.take(LONGEST_ANSWER).read_to_end(&mut bytes).await);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
