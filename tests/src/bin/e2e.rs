//! `cargo e2e`: Tripod on a real Kubernetes, and on another kernel.

use std::process::ExitCode;

use clap::Parser;
use tripod_tests::e2e::{self, Selection, Verdict};
use tripod_tests::kernel;

/// Runs Tripod's cases on a real Kubernetes whose nodes are namespaces of this machine.
///
/// With --kernel, runs the namespace tests of `cargo test` on Debian's kernel instead, in qemu, for what
/// this machine's kernel may lack: VLAN filtering, SCTP, dummy links. It needs apt and no KVM.
#[derive(Parser)]
#[command(name = "cargo e2e")]
struct Arguments {
    /// Names of cases or suites; without any, all that are not long. With --kernel, filters of test names
    /// as for `cargo test`; without any, `cni::`
    cases: Vec<String>,
    /// Run the namespace tests on Debian's kernel, in qemu
    #[arg(long, conflicts_with_all = ["all", "list", "keep"])]
    kernel: bool,
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
    let outcome = if arguments.kernel {
        kernel::run(&arguments.cases)
    } else {
        e2e::run(&Selection { names: arguments.cases, all: arguments.all, keep: arguments.keep })
    };
    match outcome {
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
