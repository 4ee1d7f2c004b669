//! The thread that asks NVML.

use std::ffi::OsStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use super::strikes::Told;
use super::{events, lock};
use crate::discovery::nvidia::card::Card;
use crate::discovery::nvidia::nvml::{self, Memory};

/// What NVML has answered so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many answers there were.
    count: u64,
    /// The last one.
    answer: Option<Result<Vec<Card>, String>>,
    /// The last that told of GPUs.
    cards: Option<Vec<Card>>,
    /// Somebody went on without the answer that is being waited for.
    missed: bool,
    /// Of the driver.
    version: Option<String>,
}

impl Answers {
    pub(super) fn count(&self) -> u64 {
        lock(&self.state).count
    }

    pub(super) fn last(&self) -> Option<Vec<Card>> {
        lock(&self.state).cards.clone()
    }

    pub(super) fn version(&self) -> Option<String> {
        lock(&self.state).version.clone()
    }

    /// The next answer after `count` of them, if it comes within `patience`.
    pub(super) fn after(&self, count: u64, patience: Duration) -> Option<Result<Vec<Card>, String>> {
        let waiting = |state: &mut State| state.count <= count;
        let waited = self.changed.wait_timeout_while(lock(&self.state), patience, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.count > count {
            return state.answer.clone();
        }
        state.missed = true;
        None
    }

    /// Takes note of an answer; whether somebody went on without it.
    fn give(&self, answer: Result<Vec<Card>, String>) -> bool {
        let mut state = lock(&self.state);
        state.count += 1;
        if let Ok(cards) = &answer {
            state.cards = Some(cards.clone());
        }
        state.answer = Some(answer);
        self.changed.notify_all();
        std::mem::take(&mut state.missed)
    }
}

/// Starts a worker, which looks once for each message.
pub(super) fn start(library: String, answers: Arc<Answers>, told: Arc<Told>) -> SyncSender<()> {
    let (sender, wishes) = sync_channel(1);
    let thread = thread::Builder::new().name("nvml".to_owned());
    if let Err(error) = thread.spawn(move || work(&library, &wishes, &answers, &told)) {
        tracing::error!(%error, "no thread for NVML");
    }
    sender
}

/// Looks until nobody wishes it any more. The library is loaded at the first look, and again after an error
/// that concerns all of it: the driver may have been changed under it.
fn work(library: &str, wishes: &Receiver<()>, answers: &Answers, told: &Arc<Told>) {
    let (mut loaded, mut memory) = (None, Memory::default());
    let mut listener = None;
    while wishes.recv().is_ok() {
        let answer = look(library, &mut loaded, &mut memory, answers);
        match (&answer, &loaded) {
            (Ok(cards), Some(nvml)) => {
                told.forgive_absent(cards);
                events::follow(&mut listener, nvml, cards, told);
            }
            _ => listener = None,
        }
        if answers.give(answer) {
            told.news().notify_one();
        }
    }
}

fn look(
    library: &str,
    loaded: &mut Option<Arc<Nvml>>,
    memory: &mut Memory,
    answers: &Answers,
) -> Result<Vec<Card>, String> {
    if loaded.is_none() {
        let nvml = Nvml::builder().lib_path(OsStr::new(library)).init().map_err(|error| explain(&error))?;
        let version = nvml.sys_driver_version().ok();
        tracing::info!(library, driver = version.as_deref().unwrap_or_default(), "NVML is loaded");
        lock(&answers.state).version = version;
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
        NvmlError::DriverNotLoaded => {
            "the driver's kernel module is not loaded: load it (modprobe nvidia)".to_owned()
        }
        NvmlError::NoPermission => {
            "this container may not open the driver's nodes: give it the runtime class nvidia, or make it \
             privileged"
                .to_owned()
        }
        NvmlError::LibRmVersionMismatch => {
            "the driver's library and kernel module are of different versions: reload the module, or reboot"
                .to_owned()
        }
        error => format!("NVML says: {error}"),
    }
}
