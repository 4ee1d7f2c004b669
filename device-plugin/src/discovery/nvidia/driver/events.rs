//! Waiting for the driver to tell of errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;

use super::strikes::Told;
use crate::discovery::nvidia::card::Card;

/// How long one wait is, and so how long after its end is wished a thread ends; in milliseconds.
const WAIT: u32 = 500;
/// How long after a failure nothing is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The error that a double-bit ECC event stands for.
const DOUBLE_BIT: u64 = 48;
const WANTED: EventTypes = EventTypes::CRITICAL_XID_ERROR.union(EventTypes::DOUBLE_BIT_ECC_ERROR);

/// A thread that listens to a set of GPUs; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    uuids: Vec<String>,
    stop: Arc<AtomicBool>,
    /// Set by the thread when it has ended.
    ended: Arc<AtomicBool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Has `listener` listen to all `cards`.
pub(super) fn follow(listener: &mut Option<Listener>, nvml: &Arc<Nvml>, cards: &[Card], told: &Arc<Told>) {
    let uuids: Vec<_> = cards.iter().filter_map(|card| card.uuid.clone()).collect();
    let listens = |listener: &Listener| listener.uuids == uuids && !listener.ended.load(Ordering::Relaxed);
    if listener.as_ref().is_some_and(listens) {
        return;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    *listener = Some(Listener { uuids: uuids.clone(), stop: stop.clone(), ended: ended.clone() });
    let (nvml, told) = (nvml.clone(), told.clone());
    let thread = thread::Builder::new().name("nvml-events".to_owned());
    if let Err(error) = thread.spawn(move || {
        listen(&nvml, &uuids, &told, &stop);
        // Whoever looks in the meantime must not begin anew at once, only to fail again.
        thread::sleep(AFTER_FAILURE);
        ended.store(true, Ordering::Relaxed);
    }) {
        tracing::error!(%error, "no thread for the driver's errors");
    }
}

fn listen(nvml: &Nvml, uuids: &[String], told: &Told, stop: &AtomicBool) {
    let Some(set) = registered(nvml, uuids) else {
        tracing::warn!("the driver tells of no errors: health of GPUs is what a look every 30 s shows");
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        match set.wait(WAIT) {
            Ok(event) => {
                let xid = match event.event_data {
                    Some(XidError::Value(xid)) => xid,
                    Some(XidError::Unknown) => 999,
                    None => DOUBLE_BIT,
                };
                if let Ok(uuid) = event.device.uuid() {
                    told.note(&uuid, xid);
                }
            }
            Err(NvmlError::Timeout) => {}
            // A GPU may have gone: a look finds out which, and a later one begins anew.
            Err(error) => {
                tracing::warn!(%error, "no longer told of errors of GPUs; tried again in a while");
                return told.news().notify_one();
            }
        }
    }
}

/// A set with the GPUs that tell of errors; `None` when none does. A GPU that refuses costs its set, so
/// that each refusal is a new beginning without it.
fn registered<'nvml>(nvml: &'nvml Nvml, uuids: &[String]) -> Option<EventSet<'nvml>> {
    let mut able: Vec<_> = uuids.to_vec();
    while !able.is_empty() {
        let new = nvml.create_event_set().ok()?;
        let whole =
            able.iter().try_fold(new, |set, uuid| register(nvml, uuid, set).ok_or_else(|| uuid.clone()));
        match whole {
            Ok(set) => return Some(set),
            Err(refused) => able.retain(|uuid| *uuid != refused),
        }
    }
    None
}

/// The set with what this GPU can tell of; `None` when it can tell nothing.
fn register<'nvml>(nvml: &'nvml Nvml, uuid: &str, set: EventSet<'nvml>) -> Option<EventSet<'nvml>> {
    let device = nvml.device_by_uuid(uuid).ok()?;
    let events = device.supported_event_types().ok()? & WANTED;
    if events.is_empty() {
        return None;
    }
    device.register_events(events, set).ok()
}
