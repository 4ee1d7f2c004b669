//! `cargo e2e`: Tripod on a real Kubernetes.

use std::process::ExitCode;

use clap::Parser;
use tripod_tests::e2e::{self, Selection, Verdict};

/// Runs Tripod's cases on a real Kubernetes whose nodes are namespaces of this machine.
#[derive(Parser)]
#[command(name = "cargo e2e")]
struct Arguments {
    /// Names of cases or suites; without any, all that are not long
    cases: Vec<String>,
    /// Also run the long cases
    #[arg(long)]
    all: bool,
    /// List the cases and end
    #[arg(long)]
    list: bool,
    /// Keep each cluster, passed or failed, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        print!("{}", e2e::list());
        return ExitCode::SUCCESS;
    }
    match e2e::run(&Selection { names: arguments.cases, all: arguments.all, keep: arguments.keep }) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        // As a shell reports a program that ended by Ctrl-C.
        Ok(Verdict::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
