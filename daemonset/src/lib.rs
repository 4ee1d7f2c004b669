//! The node agent, in two containers of one DaemonSet: `install` drops the programs and their
//! configuration onto the host, `agent` prepares the kernel and hands the runtime its conflist.
//!
//! It speaks to the Kubernetes API (its own Node object, events about it, and TripodNode objects, of which it
//! writes its own only), to rtnetlink, WireGuard and nf_tables, to the kubelet's probes and to whoever reads metrics. It may
//! touch its own files in the CNI, credential-provider and `/etc/tripod` folders, `/run/tripod`, the node's forwarding parameters, tables
//! `inet tripod` and `bridge tripod`, devices `tripod4`, `tripod6` and `tripod-wg`, and routes and rules of protocol 84.
//! When it turns IPv6 forwarding on, links with a default route that a router advertised get `accept_ra` 2:
//! with 1 a forwarding node would forget that route. It never touches pods, but for the ways that lead to
//! them: those are `tripod-cni`'s, which needs no agent.
//!
//! [`claims`] decides which nodes are believed, [`mesh`] how they are linked, both purely; [`kernel`] reads
//! and writes what the kernel has, and [`agent`] brings the three together.
//!
//! Should somebody flush nf_tables, it restores the base table, and from attachment records the host ports
//! and guarded bridge ports of running pods: with the next change to a folder it watches, or with the next
//! `--resync` (10 seconds). The chains of a conflist of one's own with `ipMasq` come back with the next ADD.
//! Attachments whose link has been gone for a minute without a DEL are released as that would.
//! `uninstall` takes all of it off a node again, and leaves to running pods what they need until they are gone.
//! `doctor` answers a person with what explains a pod without network, and changes nothing.
//! Tables of others it only reads, and logs which of their chains drop what the node forwards.

pub mod agent;
pub mod api;
pub mod attachments;
pub mod claims;
pub mod cli;
pub mod collect;
pub mod config;
pub mod conflist;
pub mod desired;
pub mod doctor;
pub mod events;
pub mod firewall;
pub mod forward;
pub mod health;
pub mod hostfs;
pub mod install;
pub mod installed;
pub mod kernel;
pub mod kubectl;
pub mod log;
pub mod mac;
pub mod mesh;
pub mod metrics;
pub mod node_facts;
pub mod observer;
pub mod orphans;
pub mod plan;
pub mod prefix;
pub mod processes;
pub mod report;
pub mod standing;
pub mod state;
pub mod status;
pub mod sysctl;
pub mod telemetry;
pub mod tripod_node;
pub mod uninstall;
pub mod watch;
pub mod wireguard_key;

use std::time::Duration;

use agent::{AgentError, Paths, Settings};
use api::Access;
use cli::{Cli, Command, Leg};
use install::InstallError;
use plan::{Legs, Places};
use uninstall::UninstallError;

/// The variables of the environment that mean something here.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// `NODE_NAME`, by the downward API.
    pub node_name: Option<String>,
    /// `KUBERNETES_SERVICE_HOST`.
    pub service_host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`.
    pub service_port: Option<String>,
}

/// Why the program ended in failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody said which Node this is.
    #[error("no node name: set NODE_NAME from spec.nodeName or give --node-name")]
    NodeName,
    /// The installation failed.
    #[error("cannot install")]
    Install(#[from] InstallError),
    /// The node is not rid of everything.
    #[error("cannot uninstall")]
    Uninstall(#[from] UninstallError),
    /// The findings could not be told.
    #[error("cannot write to standard output")]
    Doctor(#[source] std::io::Error),
    /// What the doctor found would keep every pod from starting. It was told on standard output.
    #[error("this node cannot start pods: see the lines with FAIL")]
    Sick,
    /// The agent does not answer.
    #[error("cannot ask this node's agent at {address}: is container \"net\" running?")]
    Status {
        /// Where it should answer.
        address: std::net::SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The agent says that it is not ready. It was told on standard output.
    #[error("this node is not ready")]
    NotReady,
    /// The program itself could not be told.
    #[error("cannot write kubectl's plugin")]
    Plugin(#[source] std::io::Error),
    /// The agent failed.
    #[error("cannot run the agent")]
    Agent(#[from] AgentError),
}

/// Does what the command line says, until it is done or `stop` returns.
pub async fn run(cli: Cli, env: Env, stop: impl Future<Output = ()>) -> Result<(), Error> {
    match cli.command {
        Command::Doctor(flags) => match doctor::run(&flags, &mut std::io::stdout()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Sick),
            Err(error) => Err(Error::Doctor(error)),
        },
        Command::Collect(flags) => collect::run(&flags, &mut std::io::stdout()).await.map_err(Error::Doctor),
        Command::Status(flags) => match status::run(&flags, &mut std::io::stdout()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotReady),
            Err(source) => Err(Error::Status { address: flags.health_addr, source }),
        },
        Command::Install(flags) => {
            let period = Duration::from_secs(flags.period);
            let (is_watch, is_preview, told) = (flags.watch, flags.dry_run, flags.report.clone());
            let places = places(flags);
            if is_preview {
                return Ok(install::preview(&places, &mut std::io::stdout())?);
            }
            if is_watch {
                return Ok(install::keep(&places, told.as_deref(), period, stop).await?);
            }
            let changed = install::once(&places)?;
            tracing::info!(changed, "the host's files are as the image and the configuration say");
            Ok(())
        }
        Command::Uninstall(flags) => Ok(uninstall(*flags, stop).await?),
        Command::KubectlPlugin => kubectl::plugin::write(&mut std::io::stdout()).map_err(Error::Plugin),
        Command::Agent(flags) => Ok(agent::run(&settings(*flags, env)?, stop).await?),
    }
}

async fn uninstall(flags: cli::Uninstall, stop: impl Future<Output = ()>) -> Result<(), UninstallError> {
    let (json, address, is_stay) = (flags.json, flags.health_addr, flags.stay);
    let places = uninstall::Places {
        conflist: flags.conflist,
        cni_bin: flags.host.cni_bin_dir,
        credential_bin: flags.host.credential_bin_dir,
        etc: flags.host.etc_dir,
        state: flags.state_dir,
        cdi: flags.cdi_dir,
        sysctl: flags.sysctl_root,
        proc: flags.proc_root,
    };
    let mut stdout = std::io::stdout();
    if is_stay {
        return uninstall::stay(&places, address, json, &mut stdout, stop).await;
    }
    uninstall::once(&places, json, &mut stdout).await
}

fn places(flags: cli::Install) -> Places {
    let has = |leg| flags.legs.contains(&leg);
    Places {
        legs: Legs { cni: has(Leg::Cni), credential_provider: has(Leg::CredentialProvider) },
        source: flags.source_dir,
        config: flags.config_dir,
        cni_bin: flags.host.cni_bin_dir,
        credential_bin: flags.host.credential_bin_dir,
        etc: flags.host.etc_dir,
    }
}

fn settings(flags: cli::Agent, env: Env) -> Result<Settings, Error> {
    let in_cluster = in_cluster(&env);
    let node_name =
        flags.node_name.or(env.node_name).filter(|name| !name.is_empty()).ok_or(Error::NodeName)?;
    Ok(Settings {
        node_name,
        config: flags.config,
        paths: Paths {
            conflist: flags.conflist,
            state: flags.state_dir,
            sysctl: flags.sysctl_root,
            proc_net: flags.proc_net,
        },
        access: Access { in_cluster, service_account: flags.service_account_dir },
        health: flags.health_addr,
        metrics: flags.metrics_addr,
        resync: Duration::from_secs(flags.resync),
        orphan_grace: Duration::from_secs(flags.orphan_grace),
        install_report: flags.install_report,
        startup_taint: flags.startup_taint.filter(|key| !key.is_empty()),
    })
}

/// The kubelet gives each container the address of the cluster's own Service.
fn in_cluster(env: &Env) -> Option<String> {
    let (host, port) = (env.service_host.as_deref()?, env.service_port.as_deref()?);
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}
