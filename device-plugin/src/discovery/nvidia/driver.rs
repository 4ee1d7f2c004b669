//! The driver as this process sees it: NVML on threads of its own, and the errors it has told of.
//!
//! A call into NVML can hang for as long as a GPU does, and its start takes seconds on a large node. A look
//! waits for it a moment at most, then goes on with what was known: other devices must not wait for these.
//! When the answer comes after all, that is reason for another look. No call of the kubelet waits at all:
//! those are answered from the last look.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::card::Card;
use super::files;
use super::xid::Policy;
use crate::hostroot::HostRoot;

mod events;
mod strikes;
mod worker;

use strikes::Told;
use worker::Answers;

/// How long a look waits for the first answer, and for a later one.
const PATIENCE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(1)];

/// Long-lived; shared by all scans.
#[derive(Debug)]
pub struct Driver {
    root: String,
    worker: Mutex<Option<SyncSender<()>>>,
    answers: Arc<Answers>,
    told: Arc<Told>,
}

/// What a look gets.
#[derive(Debug)]
pub(super) enum View {
    /// There is no NVML.
    Absent,
    /// What NVML says now.
    Fresh(Vec<Card>),
    /// What it said last; it does not answer, for this reason.
    Stale(Vec<Card>, String),
    /// It has never answered, for this reason.
    Silent(String),
    /// It cannot be used, for this reason.
    Refused(String),
}

impl Driver {
    /// The driver whose files are below the host's `root`, which is empty for the host's own `/`.
    pub fn new(root: &str) -> Driver {
        let root = root.trim_end_matches('/').to_owned();
        Driver { root, worker: Mutex::default(), answers: Arc::default(), told: Arc::default() }
    }

    /// Where its files are on the host; empty for `/`.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Told whenever there is a reason to look again.
    pub fn news(&self) -> Arc<Notify> {
        self.told.news()
    }

    /// Its version, once it has told it.
    pub(crate) fn version(&self) -> Option<String> {
        self.answers.version()
    }

    /// Judges errors by `policy` from now on.
    pub fn judge_by(&self, policy: Policy) {
        self.told.judge_by(policy);
    }

    /// All GPUs.
    pub(super) fn look(&self, root: &HostRoot) -> View {
        let Some(library) = self.library(root) else { return View::Absent };
        let asked = self.answers.count();
        let busy = self.ask(&library);
        let patience = match asked {
            // Whoever asked before has waited; the answer will be reason for another look.
            _ if busy => Duration::ZERO,
            0 => PATIENCE[0],
            _ => PATIENCE[1],
        };
        match self.answers.after(asked, patience) {
            Some(Ok(cards)) => View::Fresh(cards),
            Some(Err(why)) => View::Refused(why),
            None => self.silence(busy, patience),
        }
    }

    fn silence(&self, busy: bool, patience: Duration) -> View {
        let why = if busy {
            "NVML still has not answered".to_owned()
        } else {
            format!("NVML has not answered for {patience:?}")
        };
        match self.answers.last() {
            Some(cards) => View::Stale(cards, why),
            None => View::Silent(why),
        }
    }

    /// Below the host's root, else where a container runtime of NVIDIA's has put it: in our own.
    fn library(&self, root: &HostRoot) -> Option<String> {
        let own = HostRoot::new("/");
        let found = files::nvml(root, &self.root).and_then(|path| Some((root, root.resolve(&path)?)));
        let (root, path) = found.or_else(|| Some((&own, own.resolve(&files::nvml(&own, "")?)?)))?;
        root.locate(&path).into_os_string().into_string().ok()
    }

    /// Has the worker look; whether it is still at an earlier look. One that has died is started anew.
    fn ask(&self, library: &str) -> bool {
        let mut worker = lock(&self.worker);
        let start = || worker::start(library.to_owned(), self.answers.clone(), self.told.clone());
        let sender = worker.get_or_insert_with(start);
        match sender.try_send(()) {
            Ok(()) => false,
            Err(TrySendError::Full(())) => true,
            Err(TrySendError::Disconnected(())) => {
                *worker = None;
                false
            }
        }
    }

    /// What is wrong with `card` by its errors so far, and how many of them cost a reset.
    pub(super) fn trouble(&self, card: &Card) -> (Option<String>, u64) {
        let (reason, count) = self.told.trouble(card);
        (card.trouble.clone().or(reason), count)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
