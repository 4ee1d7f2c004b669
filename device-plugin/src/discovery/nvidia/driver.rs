//! The driver as this process sees it: NVML on threads of its own, and the errors it has told of.
//!
//! A call into NVML can hang for as long as a GPU does. Nothing here waits for it longer than
//! [`PATIENCE`], and no call of the kubelet waits at all: those are answered from the last scan.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use tokio::sync::Notify;

use super::card::Card;
use super::files;
use super::nvml::{self, Memory};
use super::xid::{Policy, Severity};
use crate::hostroot::HostRoot;

mod events;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after an error the driver may take to say what it wants done.
const SETTLES: Duration = Duration::from_secs(5);

/// Long-lived; shared by all scans.
#[derive(Debug)]
pub struct Driver {
    root: String,
    worker: Mutex<Option<SyncSender<Question>>>,
    told: Arc<Told>,
}

/// Answered with the GPUs, or why there is no answer.
type Question = SyncSender<Result<Vec<Card>, String>>;

/// What the driver has told of errors, and what is made of it.
#[derive(Debug, Default)]
struct Told {
    /// Its version, since it was first loaded.
    version: Mutex<Option<String>>,
    strikes: Mutex<BTreeMap<String, Strikes>>,
    policy: Mutex<Policy>,
    /// Told of each error.
    news: Arc<Notify>,
}

/// The errors of one GPU.
#[derive(Clone, Debug, Default)]
struct Strikes {
    /// How many cost, or cost soon, a reset.
    count: u64,
    /// The last of those, until it is over.
    last: Option<(u64, Severity, Instant)>,
}

impl Driver {
    /// The driver whose files are below the host's `root`, which is empty for the host's own `/`.
    pub fn new(root: &str) -> Driver {
        let root = root.trim_end_matches('/').to_owned();
        Driver { root, worker: Mutex::default(), told: Arc::default() }
    }

    /// Where its files are on the host; empty for `/`.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Told whenever there is a reason to look again.
    pub fn news(&self) -> Arc<Notify> {
        self.told.news.clone()
    }

    /// Its version, once it has told it.
    pub(crate) fn version(&self) -> Option<String> {
        lock(&self.told.version).clone()
    }

    /// Judges errors by `policy` from now on.
    pub fn judge_by(&self, policy: Policy) {
        *lock(&self.told.policy) = policy;
    }

    /// All GPUs; `None` where there is no NVML.
    pub(super) fn cards(&self, root: &HostRoot) -> Result<Option<Vec<Card>>, String> {
        let Some(library) = files::nvml(root, &self.root) else { return Ok(None) };
        let (question, answer) = sync_channel(1);
        self.ask(&root.locate(&library).into_os_string().into_string().unwrap_or(library), question)?;
        match answer.recv_timeout(PATIENCE) {
            Ok(cards) => cards.map(Some),
            Err(RecvTimeoutError::Timeout) => Err(format!("NVML has not answered for {PATIENCE:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("NVML ended badly".to_owned()),
        }
    }

    fn ask(&self, library: &str, question: Question) -> Result<(), String> {
        let mut worker = lock(&self.worker);
        let sender = worker.get_or_insert_with(|| start(library.to_owned(), self.told.clone()));
        match sender.try_send(question) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err("NVML still has not answered".to_owned()),
            Err(TrySendError::Disconnected(_)) => {
                *worker = None;
                Err("NVML ended badly and is started anew".to_owned())
            }
        }
    }

    /// What is wrong with `card` by its errors so far, and how many of them cost a reset.
    pub(super) fn trouble(&self, card: &Card) -> (Option<String>, u64) {
        let mut strikes = lock(&self.told.strikes);
        let Some(strikes) = strikes.get_mut(card.id()) else { return (card.trouble.clone(), 0) };
        let over = |(_, severity, at): (u64, Severity, Instant)| {
            severity == Severity::Reset
                && card.tells_recovery
                && card.trouble.is_none()
                && at.elapsed() > SETTLES
        };
        if strikes.last.is_some_and(over) {
            strikes.last = None;
        }
        let told = strikes.last.map(|(xid, severity, _)| match severity {
            Severity::Replace => format!("XID {xid}: have the GPU seen to"),
            _ => format!("XID {xid}: the GPU needs a reset"),
        });
        (card.trouble.clone().or(told), strikes.count)
    }
}

impl Told {
    /// Takes note of error `xid` of the GPU `uuid`.
    fn note(&self, uuid: &str, xid: u64) {
        let severity = lock(&self.policy).severity(xid);
        tracing::warn!(gpu = uuid, xid, ?severity, "the driver reports an error");
        if matches!(severity, Severity::Reset | Severity::Replace) {
            let mut strikes = lock(&self.strikes);
            let strikes = strikes.entry(uuid.to_owned()).or_default();
            strikes.count += 1;
            strikes.last = Some((xid, severity, Instant::now()));
        }
        self.news.notify_one();
    }

    /// A GPU that was away has been reset, or is another one.
    fn forgive_absent(&self, present: &[Card]) {
        for (uuid, strikes) in lock(&self.strikes).iter_mut() {
            if !present.iter().any(|card| card.id() == uuid) {
                strikes.last = None;
            }
        }
    }
}

fn start(library: String, told: Arc<Told>) -> SyncSender<Question> {
    let (sender, questions) = sync_channel(1);
    let thread = thread::Builder::new().name("nvml".to_owned());
    if let Err(error) = thread.spawn(move || work(&library, &questions, &told)) {
        tracing::error!(%error, "no thread for NVML");
    }
    sender
}

/// Answers questions until nobody has any. The library is loaded at the first, and again after an error
/// that concerns all of it: the driver may have been changed under it.
fn work(library: &str, questions: &Receiver<Question>, told: &Arc<Told>) {
    let (mut loaded, mut memory) = (None, Memory::default());
    let mut listener = None;
    while let Ok(question) = questions.recv() {
        let answer = look(library, &mut loaded, &mut memory, told);
        match (&answer, &loaded) {
            (Ok(cards), Some(nvml)) => {
                told.forgive_absent(cards);
                events::follow(&mut listener, nvml, cards, told);
            }
            _ => listener = None,
        }
        // Who asked may have lost patience.
        drop(question.send(answer));
    }
}

fn look(
    library: &str,
    loaded: &mut Option<Arc<Nvml>>,
    memory: &mut Memory,
    told: &Told,
) -> Result<Vec<Card>, String> {
    if loaded.is_none() {
        let nvml = Nvml::builder().lib_path(OsStr::new(library)).init().map_err(|error| explain(&error))?;
        let version = nvml.sys_driver_version().ok();
        tracing::info!(library, driver = version.as_deref().unwrap_or_default(), "NVML is loaded");
        *lock(&told.version) = version;
        *loaded = Some(Arc::new(nvml));
    }
    let nvml = loaded.clone().ok_or("NVML is not loaded")?;
    nvml::cards(&nvml, memory).map_err(|error| {
        *loaded = None;
        explain(&error)
    })
}

/// What NVML itself says assumes a person at the node.
fn explain(error: &NvmlError) -> String {
    match error {
        NvmlError::DriverNotLoaded => "the driver's kernel module is not loaded: load it (modprobe nvidia)".to_owned(),
        NvmlError::NoPermission => {
            "this container may not open the driver's nodes: give it the runtime class nvidia, or make it privileged".to_owned()
        }
        NvmlError::LibRmVersionMismatch => {
            "the driver's library and kernel module are of different versions: reload the module, or reboot".to_owned()
        }
        error => format!("NVML says: {error}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
