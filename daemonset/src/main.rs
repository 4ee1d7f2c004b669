//! The real environment, signals and stderr for [`tripod_node::run`], and the exit code.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tripod_node::{Env, cli::Cli, kubectl, log, report};

fn main() -> ExitCode {
    let asks_cluster = env::args_os().next().is_some_and(|name| Path::new(&name).ends_with(kubectl::NAME));
    if asks_cluster {
        return ask_cluster(&kubectl::Cli::parse());
    }
    let cli = Cli::parse();
    log::begin(cli.log);
    let result = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anything);
    let result = result.and_then(|runtime| runtime.block_on(run(cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = report::chain(error.as_ref()), "ended");
            ExitCode::FAILURE
        }
    }
}

/// A person reads this, not a log.
fn ask_cluster(cli: &kubectl::Cli) -> ExitCode {
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anything);
    let asked =
        asked.and_then(|runtime| runtime.block_on(kubectl::run(cli, &mut io::stdout())).map_err(anything));
    match asked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell that stderr is gone too.
            drop(writeln!(io::stderr(), "error: {}", report::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    // Listening before any work begins: until then the kernel drops signals to process 1 of a container.
    let mut terminate = signal(SignalKind::terminate()).map_err(anything)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anything)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tripod_node::run(cli, environment(), stop).await.map_err(anything)
}

fn anything(error: impl Error + 'static) -> Box<dyn Error> {
    Box::new(error)
}

fn environment() -> Env {
    let read = |name| env::var(name).ok();
    Env {
        node_name: read("NODE_NAME"),
        service_host: read("KUBERNETES_SERVICE_HOST"),
        service_port: read("KUBERNETES_SERVICE_PORT"),
    }
}
