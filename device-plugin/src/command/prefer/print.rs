//! An answer on standard output.

use std::io::{self, Write};

use serde::Serialize;

use super::explain::{Explained, Judged};
use crate::cli::Output;
use crate::command::document::VERSION;

/// The document printed.
#[derive(Debug, Serialize)]
struct Document<'a> {
    version: &'static str,
    resource: &'a str,
    size: usize,
    available: usize,
    exact: bool,
    chosen: &'a Judged,
    alternatives: &'a [Judged],
    why: Vec<String>,
}

pub(super) fn print(output: Output, explained: &Explained, stdout: &mut dyn Write) -> io::Result<()> {
    match output {
        Output::Json => json(explained, stdout),
        Output::Table => table(explained, stdout),
    }
}

fn json(explained: &Explained, stdout: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        version: VERSION,
        resource: &explained.resource,
        size: explained.size,
        available: explained.available,
        exact: explained.exact,
        chosen: &explained.chosen,
        alternatives: &explained.others,
        why: explained.why(),
    };
    serde_json::to_writer_pretty(&mut *stdout, &document)?;
    writeln!(stdout)
}

fn table(explained: &Explained, stdout: &mut dyn Write) -> io::Result<()> {
    writeln!(stdout, "{:<8}{:>12}{:>12}{:>8}  DEVICES", "", "INSIDE", "CUT", "NUMA")?;
    let chosen = std::iter::once(("chosen", &explained.chosen));
    let others = ["second", "third", "fourth"].into_iter().zip(&explained.others);
    for (word, judged) in chosen.chain(others) {
        let Judged { devices, inside, cut, numa_nodes } = judged;
        writeln!(stdout, "{word:<8}{inside:>12}{cut:>12}{numa_nodes:>8}  {}", devices.join(" "))?;
    }
    writeln!(stdout)?;
    for sentence in explained.why() {
        writeln!(stdout, "{sentence}")?;
    }
    Ok(())
}
