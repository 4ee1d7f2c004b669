//! The real environment, signals and stderr for [`tripod_node::run`], and the exit code.

use std::env;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tripod_node::{Env, cli::Cli, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info,kube=warn"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(io::stderr)
        .with_env_filter(filter)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(tripod_node::run(cli, environment(), terminated())).map_err(anything),
        Err(error) => Err(anything(error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = report::chain(error.as_ref()), "ended");
            ExitCode::FAILURE
        }
    }
}

fn anything(error: impl std::error::Error + 'static) -> Box<dyn std::error::Error> {
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

/// Returns when somebody asks us to end. As process 1 of a container we get no default action.
async fn terminated() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without signals only a kill ends us, which loses nothing.
        _ => std::future::pending().await,
    }
}
