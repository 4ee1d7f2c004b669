//! `kubectl` as it is asked: which pods there are, and what a program in one of them says.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::pods::{self, Place, Pods};

/// Longest answer, in bytes.
const LONGEST: u64 = 64 << 20;
/// Longest complaint that is told, in bytes.
const LONGEST_COMPLAINT: u64 = 4 << 10;
/// How long `kubectl` may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something is not known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The program could not be executed.
    #[error("cannot run kubectl: is it in PATH?")]
    Run(#[source] io::Error),
    /// It takes too long.
    #[error("kubectl {0} did not end within {PATIENCE:?}")]
    Slow(String),
    /// It failed.
    #[error("kubectl {what} ended with {status}: {complaint}")]
    Failed {
        /// What was asked.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        complaint: String,
    },
    /// Its answer is no JSON.
    #[error("the answer to kubectl {0} cannot be read")]
    Answer(String, #[source] serde_json::Error),
    /// The list of pods is not what was asked for.
    #[error("the list of pods that kubectl printed cannot be read: {0}")]
    Pods(String),
    /// No pod that could be asked.
    #[error(
        "no pod with label app.kubernetes.io/name=tripod and container {container:?} in namespace {namespace:?}{on}"
    )]
    Nobody {
        /// The container asked for.
        container: &'static str,
        /// Where it was looked for.
        namespace: String,
        /// On which node.
        on: String,
    },
    /// The archive could not be written.
    #[error("cannot write the new file {path:?}")]
    Bundle {
        /// Its path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The answer could not be told.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

/// What `kubectl` is told; KUBECONFIG it reads itself.
#[derive(Args, Clone, Debug)]
pub(super) struct Kubectl {
    /// The context of kubectl's configuration
    #[arg(long, global = true)]
    context: Option<String>,
    /// kubectl's configuration
    #[arg(long, global = true)]
    kubeconfig: Option<String>,
    /// Where Tripod is installed
    #[arg(long, short, global = true, default_value = "tripod-system")]
    namespace: String,
}

/// What `kubectl` was asked, how it ended, and what it wrote to stdout and stderr.
struct Told {
    what: String,
    status: ExitStatus,
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

impl Kubectl {
    /// Tripod's pods, on one node or on all.
    pub(super) async fn pods(&self, node: Option<&str>) -> Result<Pods, AskError> {
        let mut words = vec!["get", "pods", "--selector=app.kubernetes.io/name=tripod", pods::OUTPUT];
        let selector = node.map(|node| format!("--field-selector=spec.nodeName={node}"));
        words.extend(selector.as_deref());
        let Told { what, status, answer, complaint } = self.told(&words).await?;
        if !status.success() {
            return Err(failed(what, status, &complaint));
        }
        let on = node.map(|node| format!(" on node {node:?}")).unwrap_or_default();
        let found = pods::parse(&answer).map_err(AskError::Pods)?;
        Ok(Pods { found, namespace: self.namespace.clone(), on })
    }

    /// What `words` say in the container of a pod.
    pub(super) async fn exec(
        &self,
        place: &Place,
        container: &str,
        words: &[&str],
    ) -> Result<Value, AskError> {
        let begin = ["exec", &place.pod, "--container", container, "--"];
        self.ask(&[&begin, words].concat()).await
    }

    /// Runs kubectl. A program that answers and then ends badly has answered.
    pub(super) async fn ask(&self, words: &[&str]) -> Result<Value, AskError> {
        let Told { what, status, answer, complaint } = self.told(words).await?;
        match serde_json::from_slice(&answer) {
            Ok(value) => Ok(value),
            Err(error) if status.success() => Err(AskError::Answer(what, error)),
            Err(_) => Err(failed(what, status, &complaint)),
        }
    }

    async fn told(&self, words: &[&str]) -> Result<Told, AskError> {
        let what = words.join(" ");
        let ended = timeout(PATIENCE, self.run(words)).await;
        let (status, answer, complaint) =
            ended.map_err(|_elapsed| AskError::Slow(what.clone()))?.map_err(AskError::Run)?;
        Ok(Told { what, status, answer, complaint })
    }

    async fn run(&self, words: &[&str]) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
        let mut command = Command::new("kubectl");
        for (flag, value) in [("--context", &self.context), ("--kubeconfig", &self.kubeconfig)] {
            command.args(value.iter().map(|value| format!("{flag}={value}")));
        }
        command.arg(format!("--namespace={}", self.namespace)).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (answer, complaint, status) =
            tokio::join!(read(stdout, LONGEST), read(stderr, LONGEST_COMPLAINT), child.wait());
        Ok((status?, answer?, complaint?))
    }
}

/// Reads to the end and keeps the beginning.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let (Some(mut from), mut text) = (from, Vec::new()) else { return Ok(Vec::new()) };
    (&mut from).take(most).read_to_end(&mut text).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(text)
}

fn failed(what: String, status: ExitStatus, complaint: &[u8]) -> AskError {
    let complaint = String::from_utf8_lossy(complaint).trim().replace('\n', "; ");
    AskError::Failed { what, status, complaint }
}
