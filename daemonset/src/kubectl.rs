//! `kubectl tripod`: asks Tripod's pods on all nodes, through `kubectl` itself and so with its ways to sign in.
//! It changes nothing.

mod ask;
mod rows;

use std::io::Write;

use clap::{Args, Parser, Subcommand};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::report;
pub use ask::AskError;
use ask::{Kubectl, Place};
use rows::Rows;

/// Name under which the program is this plugin.
pub const NAME: &str = "kubectl-tripod";

/// How many nodes are asked at once.
const AT_ONCE: usize = 8;

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
}

/// Of which nodes, and how.
#[derive(Args, Clone, Debug)]
struct Asked {
    /// Of this node alone
    node: Option<String>,
    /// Prints `[{node, answer, error}]` instead of a table
    #[arg(long)]
    json: bool,
}

impl Verb {
    fn asked(&self) -> &Asked {
        match self {
            Self::Status(asked) | Self::Doctor(asked) | Self::Leases(asked) | Self::Devices(asked) => asked,
        }
    }

    /// The container that knows, and how it is asked.
    fn question(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Status(_) => ("net", &["/tripod-node", "status", "--json"]),
            Self::Doctor(_) => ("net", &["/tripod-node", "doctor", "--json"]),
            Self::Leases(_) => ("net", &["/tripod-cni", "leases", "--json"]),
            Self::Devices(_) => (
                "device-plugin",
                &[
                    "/tripod-device-plugin",
                    "discover",
                    "--config=/config/device-plugin.yaml",
                    "--host-root=/host",
                    "--output=json",
                ],
            ),
        }
    }

    fn rows(&self) -> &'static Rows {
        match self {
            Self::Status(_) => &rows::STATUS,
            Self::Doctor(_) => &rows::DOCTOR,
            Self::Leases(_) => &rows::LEASES,
            Self::Devices(_) => &rows::DEVICES,
        }
    }
}

/// What one node answered.
#[derive(Debug)]
struct Answer {
    node: String,
    told: Result<Value, AskError>,
}

/// Asks, and tells it on `stdout`; says whether all is well on every node.
pub async fn run(cli: &Cli, stdout: &mut dyn Write) -> Result<bool, AskError> {
    let (container, words) = cli.verb.question();
    let Asked { node, json } = cli.verb.asked();
    let places = cli.kubectl.places(container, node.as_deref()).await?;
    let ask = |place: Place| async move {
        let told = cli.kubectl.exec(&place, container, words).await;
        Answer { node: place.node, told }
    };
    let answers: Vec<Answer> = stream::iter(places).map(ask).buffered(AT_ONCE).collect().await;
    let rows = cli.verb.rows();
    let text = if *json { as_json(&answers) } else { as_table(rows, &answers) };
    stdout.write_all(text.as_bytes()).map_err(AskError::Output)?;
    Ok(answers.iter().all(|answer| answer.told.as_ref().is_ok_and(|told| (rows.is_good)(told))))
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
