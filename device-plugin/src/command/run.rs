//! `run`: a runtime, signals, and the lifecycle.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::RunArgs;
use crate::error::RunError;
use crate::hostroot::HostRoot;
use crate::lifecycle::{self, Places};
use crate::podresources::Inquiry;
use crate::registration::Way;

/// Runs until SIGTERM or SIGINT. One thread is enough: no call blocks, and scans run beside it.
pub(crate) fn run(args: RunArgs) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::System { act: "start the runtime", source })?;
    runtime.block_on(async {
        let stop = stop_signal().map_err(|source| RunError::System { act: "listen for signals", source })?;
        let places = Places {
            config: args.config,
            host_root: HostRoot::new(args.host_root),
            nvidia_driver_root: args.nvidia_driver_root,
            plugin_dir: match args.registration {
                Way::Classic => args.plugin_dir,
                Way::Watcher => args.plugins_registry_dir,
            },
            registration: args.registration,
            cdi_dir: args.cdi_dir,
            mps_dir: args.mps_dir,
            nfd_dir: args.nfd_dir,
            agent_socket: args.agent_socket,
            health: args.health_addr.0,
            metrics: args.metrics_addr.0,
            inquiry: Inquiry {
                socket: args.podresources_socket,
                interval: Duration::from_secs(args.podresources_interval.into()),
            },
        };
        lifecycle::run(places, stop).await
    })
}

fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stop.send_replace(true);
        // Dropping the sender would look like another change.
        stop.closed().await;
    });
    Ok(stopped)
}
