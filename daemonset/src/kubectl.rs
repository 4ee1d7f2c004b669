//! `kubectl tripod`: asks Tripod's pods on all nodes, through `kubectl` itself and so with its ways to sign in.
//! It changes nothing.

mod ask;
mod collect;
pub(crate) mod plugin;
mod pods;
mod progress;
mod rows;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::report;
pub use ask::AskError;
use ask::Kubectl;
use pods::{Place, Pods};
use progress::Progress;
use rows::Rows;

/// Name under which the program is this plugin.
pub const NAME: &str = "kubectl-tripod";

/// How many nodes are asked at once.
const AT_ONCE: usize = 32;

/// Tells what Tripod does on the nodes of a cluster.
#[derive(Debug, Parser)]
#[command(name = "kubectl tripod", version, about)]
pub struct Cli {
    #[command(flatten)]
    kubectl: Kubectl,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be asked.
#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Which nodes are ready, and how they are linked; ends well only when all are ready
    Status(Asked),
    /// What may keep pods without network, with evidence and a fix; ends well when pods can start everywhere
    Doctor(Asked),
    /// Which pod has which address
    Leases(Asked),
    /// Which devices are offered
    Devices(Asked),
    /// Writes what explains each node to others, without secrets, into a new tar file
    Collect(Bundle),
}

/// Of which nodes, and where to.
#[derive(Args, Clone, Debug)]
struct Bundle {
    /// Of this node alone
    node: Option<String>,
    /// The new file
    #[arg(long, short, default_value = "tripod.tar")]
    output: PathBuf,
}

/// What is asked of each node, in the containers that can see it: the answers to all but the first are added to
/// that one's.
struct Question<'a> {
    asked: &'a Asked,
    parts: &'static [Part],
    rows: &'static Rows,
}

/// A container, and what is executed there.
type Part = (&'static str, &'static [&'static str]);

/// Of which nodes, and how.
#[derive(Args, Clone, Debug)]
struct Asked {
    /// Of this node alone
    node: Option<String>,
    /// Prints `[{node, answer, error}]` instead of a table
    #[arg(long)]
    json: bool,
}

const STATUS: &[Part] = &[("net", &["/tripod-node", "status", "--json"])];
const DOCTOR: &[Part] = &[
    ("net", &["/tripod-node", "doctor", "--json"]),
    ("files", &["/tripod-node", "doctor", "--json", "--only", "files"]),
];
const LEASES: &[Part] = &[("net", &["/tripod-cni", "leases", "--json"])];
const DEVICES: &[Part] = &[(
    "device-plugin",
    &[
        "/tripod-device-plugin",
        "discover",
        "--config=/config/device-plugin.yaml",
        "--host-root=/host",
        "--output=json",
    ],
)];

/// What one node answered.
#[derive(Debug)]
struct Answer {
    node: String,
    told: Result<Value, AskError>,
}

/// Asks, and tells it on `stdout`; says whether all is well on every node.
pub async fn run(cli: &Cli, stdout: &mut dyn Write) -> Result<bool, AskError> {
    let (asked, parts, rows) = match &cli.verb {
        Verb::Status(asked) => (asked, STATUS, &rows::STATUS),
        Verb::Doctor(asked) => (asked, DOCTOR, &rows::DOCTOR),
        Verb::Leases(asked) => (asked, LEASES, &rows::LEASES),
        Verb::Devices(asked) => (asked, DEVICES, &rows::DEVICES),
        Verb::Collect(bundle) => {
            return collect::run(&cli.kubectl, bundle.node.as_deref(), &bundle.output).await;
        }
    };
    ask_all(&cli.kubectl, &Question { asked, parts, rows }, stdout).await
}

async fn ask_all(
    kubectl: &Kubectl,
    Question { asked, parts, rows }: &Question<'_>,
    stdout: &mut dyn Write,
) -> Result<bool, AskError> {
    let pods = kubectl.pods(asked.node.as_deref()).await?;
    let mut answers = Vec::new();
    for part in *parts {
        match ask_part(kubectl, *part, &pods).await {
            Ok(more) => more.into_iter().for_each(|answer| add(&mut answers, answer)),
            // Whoever has the network alone, say, has none of the other containers.
            Err(AskError::Nobody { .. }) if !answers.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    let text = if asked.json { as_json(&answers) } else { as_table(rows, &answers) };
    stdout.write_all(text.as_bytes()).map_err(AskError::Output)?;
    Ok(answers.iter().all(|answer| answer.told.as_ref().is_ok_and(|told| (rows.is_good)(told))))
}

async fn ask_part(kubectl: &Kubectl, (container, words): Part, pods: &Pods) -> Result<Vec<Answer>, AskError> {
    let places = pods.with(container)?;
    let progress = &Progress::of(places.len());
    let ask = |place: Place| async move {
        let told = kubectl.exec(&place, container, words).await;
        progress.step();
        Answer { node: place.node, told }
    };
    Ok(stream::iter(places).map(ask).buffered(AT_ONCE).collect().await)
}

/// Adds a list to that of the same node. What is no list, as a failure, is told beside it.
fn add(answers: &mut Vec<Answer>, answer: Answer) {
    let same = answers.iter_mut().find(|one| one.node == answer.node).map(|one| &mut one.told);
    match (same, answer.told) {
        (Some(Ok(Value::Array(all))), Ok(Value::Array(more))) => all.extend(more),
        (_, told) => answers.push(Answer { told, ..answer }),
    }
}

fn as_json(answers: &[Answer]) -> String {
    let one = |answer: &Answer| {
        let error = answer.told.as_ref().err().map(|error| report::chain(error));
        serde_json::json!({"node": answer.node, "answer": answer.told.as_ref().ok(), "error": error})
    };
    format!("{}\n", Value::Array(answers.iter().map(one).collect()))
}

fn as_table(rows: &Rows, answers: &[Answer]) -> String {
    let (mut lines, mut silent) = (Vec::new(), String::new());
    for Answer { node, told } in answers {
        match told {
            Ok(told) => {
                let with_node = |cells: Vec<String>| [vec![node.clone()], cells].concat();
                lines.extend((rows.cells)(told).into_iter().map(with_node));
            }
            Err(error) => {
                silent.push_str(&format!("node {node} does not answer: {}\n", report::chain(error)))
            }
        }
    }
    let head: Vec<&str> = std::iter::once("NODE").chain(rows.head.iter().copied()).collect();
    crate::status::columns(&head, &lines) + &silent
}
