//! `uninstall`: takes what is Tripod's off the node, and tells of each object what became of it.
//!
//! The conflist goes first, so that no pod begins what nobody would end. Pods that run keep their network:
//! the kernel's state and the plugin stay until the last attachment is gone. Nothing is remembered between two
//! runs, and what is gone is done, so it can be killed at any moment and run again.

mod attachments;
mod files;
mod kernel;
mod kubelet;
mod outcome;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::agent::Phase;
use crate::health::{self, ListenError};
use crate::kernel::{Kernel, KernelError};
use outcome::{Format, Object};

/// How often to look whether the last pod is gone.
const PERIOD: Duration = Duration::from_secs(2);

/// Where Tripod may have left something.
#[derive(Clone, Debug)]
pub struct Places {
    /// The conflist.
    pub conflist: PathBuf,
    /// The runtime's folder of plugins.
    pub cni_bin: PathBuf,
    /// The kubelet's folder of credential providers.
    pub credential_bin: PathBuf,
    /// The programs' configuration.
    pub etc: PathBuf,
    /// State of agent and plugin.
    pub state: PathBuf,
    /// CDI specs.
    pub cdi: PathBuf,
    /// The node's `/proc/sys/net`.
    pub sysctl: PathBuf,
    /// The node's `/proc`, as far as it can be seen.
    pub proc: PathBuf,
}

/// Why the node is not rid of Tripod.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The kernel gives no sockets.
    #[error("cannot look at the node's network")]
    Kernel(#[from] KernelError),
    /// What was done could not be told.
    #[error("cannot write to standard output")]
    Tell(#[source] io::Error),
    /// The probes' address is taken.
    #[error("cannot answer probes")]
    Health(#[from] ListenError),
    /// Answering probes ended.
    #[error("answering probes ended")]
    Probes(#[source] io::Error),
    /// Some objects could not be removed. They were told on standard output.
    #[error("{0} objects could not be removed: see the lines with failed; run it again once that is mended")]
    Failed(usize),
}

/// Removes what can be removed now.
pub async fn once(places: &Places, json: bool, stdout: &mut dyn Write) -> Result<(), UninstallError> {
    let mut teller = Teller { json, stdout, last: Vec::new() };
    teller.tell(pass(places, &Kernel::open()?).await)?;
    teller.judge()
}

/// Removes what can be removed until nothing has to wait any more, and stays until `stop` returns, answering
/// probes at `address`: ready is who is done.
pub async fn stay(
    places: &Places,
    address: SocketAddr,
    json: bool,
    stdout: &mut dyn Write,
    stop: impl Future<Output = ()>,
) -> Result<(), UninstallError> {
    let listener = health::open(address).await?;
    let (phase, phases) = watch::channel(Phase::default());
    let mut teller = Teller { json, stdout, last: Vec::new() };
    tokio::select! {
        () = stop => {}
        ended = repeat(places, &phase, &mut teller) => ended?,
        ended = health::run(listener, health::probes(phases)) => ended.map_err(UninstallError::Probes)?,
    }
    teller.judge()
}

async fn repeat(
    places: &Places,
    phase: &watch::Sender<Phase>,
    teller: &mut Teller<'_>,
) -> Result<(), UninstallError> {
    let kernel = Kernel::open()?;
    loop {
        let objects = pass(places, &kernel).await;
        let now = phase_of(&objects);
        teller.tell(objects)?;
        phase.send_replace(now);
        tokio::time::sleep(PERIOD).await;
    }
}

async fn pass(places: &Places, kernel: &Kernel) -> Vec<Object> {
    let mut objects = vec![files::conflist(&places.conflist)];
    objects.extend(files::agent_state(&places.state));
    let remaining = attachments::remaining(&places.state, kernel).await;
    objects.extend(remaining.objects());
    objects.extend(kernel::remove(kernel, &remaining).await);
    objects.extend(files::stores(&places.state, &remaining));
    objects.extend(files::sysctls(&places.sysctl));
    objects.extend(files::node_config(&places.etc));
    objects.extend(files::cdi_specs(&places.cdi));
    objects.extend(files::credential_provider(places, &kubelet::reference(&places.proc)));
    objects.extend(files::plugins(&places.cni_bin, &places.state, &remaining));
    objects
}

/// Tells what is new since it told the last time.
struct Teller<'a> {
    json: bool,
    stdout: &'a mut dyn Write,
    last: Vec<Object>,
}

impl Teller<'_> {
    fn tell(&mut self, objects: Vec<Object>) -> Result<(), UninstallError> {
        if objects == self.last {
            return Ok(());
        }
        let text = outcome::render(&objects, if self.json { Format::Json } else { Format::Table });
        self.last = objects;
        let told = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush());
        told.map_err(UninstallError::Tell)
    }

    fn judge(&self) -> Result<(), UninstallError> {
        match self.last.iter().filter(|object| object.has_failed()).count() {
            0 => Ok(()),
            failed => Err(UninstallError::Failed(failed)),
        }
    }
}

fn phase_of(objects: &[Object]) -> Phase {
    let unfinished = objects.iter().find(|object| object.has_failed() || object.waits());
    unfinished.map_or(Phase::Ready, |object| Phase::Failing(object.to_string()))
}
