//! The moto server, which plays EC2's metadata, STS and ECR as somebody else has understood them, and
//! botocore beside it, Amazon's own client, as judge of signatures and host names.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::programs;

/// A Python with moto and botocore in `target/`.
#[derive(Clone, Debug)]
pub struct Python(PathBuf);

/// A running moto server; it ends when dropped.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    child: Child,
}

impl Python {
    /// Installs what is needed, once per checkout. `None`, loudly, where that fails; in CI it must not.
    pub fn installed() -> Option<Self> {
        static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            install(&programs::target_dir().join("moto")).map_err(|error| format!("{error:#}"))
        });
        match installed {
            Ok(folder) => Some(Self(folder.clone())),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "moto cannot be installed: {error}");
                eprintln!("SKIPPED: moto cannot be installed: {error}");
                None
            }
        }
    }

    /// What `tests/oracle/<script>` prints when it reads `input`.
    pub fn ask(&self, script: &str, input: &Value) -> Value {
        let path = programs::workspace().join("tests/oracle").join(script);
        let mut command = Command::new(self.0.join("bin/python"));
        command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        // A script that reads nothing may have ended already.
        drop(child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()));
        let output = child.wait_with_output().expect("an exit status");
        assert!(output.status.success(), "{script}: {}", output.status);
        serde_json::from_slice(&output.stdout).expect("a JSON document")
    }

    /// Starts a server on a free port of 127.0.0.1.
    pub fn moto(&self) -> Moto {
        self.start().expect("moto starts")
    }

    fn start(&self) -> anyhow::Result<Moto> {
        let mut command = Command::new(self.0.join("bin/moto_server"));
        // It asks the metadata service of a real cloud for nothing, but botocore looks for configuration.
        command.env("AWS_EC2_METADATA_DISABLED", "true").args(["--host", "127.0.0.1", "--port", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("a pipe")?);
        let mut moto = Moto { address: ([127, 0, 0, 1], 0).into(), child };
        moto.address = read_address(&mut log)?;
        // Read on, or it stops once the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(moto)
    }
}

impl Moto {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let _gone_already = killpg(group, Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

/// It says where it runs once it answers.
fn read_address(log: &mut impl BufRead) -> anyhow::Result<SocketAddr> {
    let mut said = String::new();
    loop {
        let before = said.len();
        ensure!(log.read_line(&mut said)? > 0, "moto ended: {said}");
        if let Some((_, address)) = said[before..].split_once("Running on http://") {
            return Ok(address.trim().parse()?);
        }
    }
}

/// Makes `folder` hold what the list asks for, whichever test process comes first.
fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let guard = std::fs::File::create(folder.join("lock"))?;
    guard.lock()?;
    let (python, stamp) = (folder.join("python"), folder.join("installed"));
    let list = programs::workspace().join("tests/oracle/requirements.txt");
    let wanted = std::fs::read_to_string(&list)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&python))?;
    run(Command::new(python.join("bin/pip"))
        .args(["install", "--quiet", "--no-input", "--requirement"])
        .arg(list))?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(())
}
