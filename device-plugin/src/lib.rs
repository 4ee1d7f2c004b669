//! The device plugin leg. The DaemonSet runs it, long-lived, on each node; it speaks gRPC with the
//! kubelet over Unix sockets, reads `/dev`, `/sys` and its config, and writes nothing but sockets in the
//! kubelet's device plugin directory, CDI specs where a strategy wants them, a file of labels where a flag
//! names its folder, and the folders of a daemon of NVIDIA's where GPUs are shared by it. That daemon and
//! the reset hooks that its config names are the only programs it starts.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | `device-plugin.yaml`, checked |
//! | [`hostroot`], [`discovery`], [`device`] | finding devices below the host's root |
//! | [`inventory`], [`health`] | pure: devices over time, their ids, the list the kubelet gets |
//! | [`topology`] | pure: cards, their links and NUMA nodes |
//! | [`allocation`], [`preferred`] | pure: answers to the kubelet |
//! | [`cdi`] | specs for the container runtime |
//! | [`service`] | the gRPC face of one resource |
//! | [`registration`], [`socket`], [`kubelet_watch`] | staying registered |
//! | [`podresources`] | what containers hold, asked of the kubelet |
//! | [`reset`] | making devices ready for their next holders |
//! | [`board`], [`metrics`] | what the running parts tell about themselves |
//! | `labels` | labels of the node, for Node Feature Discovery |
//! | `mps` | the daemon of NVIDIA's Multi-Process Service |
//! | [`lifecycle`], [`readiness`], [`folder_watch`], `telemetry` | the running process |

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

pub mod allocation;
pub mod board;
pub mod cdi;
pub mod cli;
pub mod config;
pub mod device;
pub mod discovery;
pub mod error;
pub mod folder_watch;
pub mod health;
pub mod hostroot;
pub mod inventory;
pub mod kubelet_watch;
pub mod lifecycle;
pub mod metrics;
pub mod podresources;
pub mod preferred;
pub mod readiness;
pub mod registration;
pub mod reset;
pub mod service;
pub mod socket;
pub mod topology;

mod command;
mod labels;
mod mps;
mod offer;
mod orphans;
mod stock;
mod telemetry;
mod vanished;

use cli::{Cli, LogFormat, Verb};
use error::RunError;

/// Runs the program with `args`, the program's name first. Exit code 0 is success, 1 failure (a config
/// with problems included), 2 a wrong command line.
pub fn run(args: impl IntoIterator<Item = OsString>, stdout: &mut dyn Write) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage),
    };
    log_to_stderr(cli.log_level, cli.log_format);
    let outcome = match cli.verb {
        Verb::Run(args) => command::run::run(*args).map(|()| true),
        Verb::Discover(args) => command::discover::run(&args, stdout).map(|()| true),
        Verb::Prefer(args) => command::prefer::run(&args, stdout).map(|()| true),
        Verb::CheckConfig(args) => command::check_config::run(&args, stdout)
            .map_err(|source| RunError::System { act: "write to standard output", source }),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Help and version are usage "errors" of code 0.
fn explain(usage: &clap::Error) -> ExitCode {
    let printed = usage.print().is_ok();
    if printed && usage.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn log_to_stderr(level: tracing::level_filters::LevelFilter, format: LogFormat) {
    let lines =
        tracing_subscriber::fmt().with_target(false).with_max_level(level).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// A config with several problems is reported whole: who mends one line wants to know of the others.
fn report(error: &RunError) {
    let RunError::Config(config::ConfigError::Invalid { path, problems }) = error else {
        tracing::error!("{}", error::chain(error));
        return;
    };
    for problem in problems {
        tracing::error!("{}:{}: {problem}", path.display(), problem.line);
    }
}
