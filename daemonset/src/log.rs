//! The log, on standard error: one line for each event.

use std::env;
use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Args, Clone, Copy, Debug)]
pub struct Log {
    /// How much to log: off, error, warn, info, debug or trace; RUST_LOG wins, and can tell modules apart
    #[arg(long = "log-level", global = true, default_value = "info", value_name = "LEVEL")]
    pub level: LevelFilter,
    /// Objects for programs, or lines for people
    #[arg(long = "log-format", global = true, value_enum, default_value_t = LogFormat::Json)]
    pub format: LogFormat,
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object
    Json,
    /// `TIME LEVEL MODULE: MESSAGE key=value`
    Text,
}

/// Begins to log.
pub fn begin(log: Log) {
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter(log.level));
    match log.format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
    }
}

/// `RUST_LOG`, if it says anything that can be read.
fn filter(level: LevelFilter) -> EnvFilter {
    let wanted = env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    // What the client of the API logs of a request that failed, our errors say once.
    wanted
        .and_then(|wanted| EnvFilter::try_new(wanted).ok())
        .unwrap_or_else(|| format!("{level},kube_client=off").into())
}
