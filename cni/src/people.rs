//! What a person asks on a node, by hand: who has which address, and what a configuration would do.

mod explain;
mod leases;

use std::path::{Path, PathBuf};

use crate::command::Dirs;
pub use explain::explain;

/// What a person reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub text: String,
    /// For standard error: what could not be answered.
    pub problems: String,
    /// Whether the exit code is 0.
    pub good: bool,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Answer {
    fn good(text: String) -> Self {
        Self { text, good: true, ..Self::default() }
    }
}

/// Answers the command line after the program's name. Plugins of a chain are looked for in `plugins`.
pub fn answer(words: &[&str], dirs: &Dirs, plugins: &[PathBuf]) -> Answer {
    match words {
        ["leases"] => leases::run(dirs, Format::Text),
        ["leases", "--json"] => leases::run(dirs, Format::Json),
        ["explain", file] if !file.starts_with('-') => {
            explain::run(Path::new(file), Format::Text, dirs, plugins)
        }
        ["explain", file, "--json"] | ["explain", "--json", file] => {
            explain::run(Path::new(file), Format::Json, dirs, plugins)
        }
        ["--help" | "-h" | "help"] => Answer::good(usage()),
        ["--version" | "-V"] => Answer::good(format!("tripod-cni {}\n", env!("CARGO_PKG_VERSION"))),
        _ => {
            let problems = format!("tripod-cni: {:?} is no command\n\n{}", words.join(" "), usage());
            Answer { problems, ..Answer::default() }
        }
    }
}

/// The commands, as `--help` prints them.
pub(crate) fn usage() -> String {
    "By hand:\n\
     \x20 tripod-cni leases [--json]             every address that is given: to whom, since when, and\n\
     \x20                                        whether the sandbox still lives\n\
     \x20 tripod-cni explain CONFLIST [--json]   what an ADD with this file would do on this node, and\n\
     \x20                                        every problem found; exit code 1 when one is fatal\n\
     \x20 tripod-cni --version\n\
     By the container runtime: https://www.cni.dev/docs/spec/. A configuration to begin with:\n\
     \x20 {\"cniVersion\": \"1.1.0\", \"name\": \"pods\", \"type\": \"tripod-cni\",\n\
     \x20  \"ipam\": {\"ranges\": [[{\"subnet\": \"10.1.0.0/24\"}]]}}\n"
        .to_owned()
}
