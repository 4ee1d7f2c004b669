//! Who has had each device since it was reset last. Pure: the caller says what happened, and when.
//!
//! ```text
//! clean ── Allocate ──▶ Given ── PreStartContainer ──▶ Used ── released ──▶ Owed ⇄ Resetting ──▶ clean
//!                         ▲ ╰─▶ Preparing ─▶ Used       │
//!                         ╰──────── Allocate ───────────╯
//! ```
//!
//! Only Allocate makes a new holder, so a container that starts again goes ahead on what it has used. A
//! device that comes from `Used` is soiled, and prepared for its new holder before that starts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Wait before the first further attempt; doubled by each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// So many hooks run at a time for devices that were given back.
const AT_ONCE: usize = 8;
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// A device among those of all resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceRef {
    /// The resource it is offered as.
    pub resource: String,
    /// Its id.
    pub id: String,
}

/// What must happen before a container starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    Go,
    /// The device is reset for its new holder.
    Prepare,
    /// A reset that is under way ends.
    Wait,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Handed out; its holder has not started.
    Given { at: Instant, soiled: bool },
    /// Being reset for the holder it was given to then, unless another one has come since.
    Preparing { at: Instant, superseded: bool },
    /// Its holder has started.
    Used { at: Instant },
    /// Nobody's, and to be reset.
    Owed { due: Instant, failures: u32, reason: String },
    /// Nobody's, and being reset.
    Resetting { failures: u32, reason: String },
}

/// The devices that are not clean.
#[derive(Debug, Default)]
pub(super) struct Tenancies(BTreeMap<DeviceRef, Stage>);

impl Tenancies {
    /// Gives `devices` to a new holder, all or none: of a device that cannot be had the reason is returned.
    pub(super) fn hand_out(
        &mut self,
        devices: Vec<DeviceRef>,
        now: Instant,
    ) -> Result<(), (DeviceRef, String)> {
        if let Some((device, reason)) =
            devices.iter().find_map(|device| Some((device, self.ailment(device)?)))
        {
            return Err((device.clone(), reason));
        }
        for device in devices {
            let next = match self.0.get(&device) {
                Some(Stage::Used { .. }) => Stage::Given { at: now, soiled: true },
                Some(Stage::Given { soiled, .. }) => Stage::Given { at: now, soiled: *soiled },
                Some(Stage::Preparing { .. }) => Stage::Preparing { at: now, superseded: true },
                _ => Stage::Given { at: now, soiled: false },
            };
            self.0.insert(device, next);
        }
        Ok(())
    }

    /// A container is about to start on `device`. Of what nothing is known the past is not held against it.
    pub(super) fn start(&mut self, device: &DeviceRef, now: Instant) -> Start {
        let (next, start) = match self.0.get(device) {
            Some(Stage::Preparing { .. } | Stage::Resetting { .. }) => return Start::Wait,
            Some(Stage::Used { .. }) => return Start::Go,
            Some(Stage::Given { at, soiled: true }) => {
                (Stage::Preparing { at: *at, superseded: false }, Start::Prepare)
            }
            // It was given back as far as the kubelet said, so whoever starts is as good as new.
            Some(Stage::Owed { .. }) => (Stage::Preparing { at: now, superseded: false }, Start::Prepare),
            Some(Stage::Given { at, soiled: false }) => (Stage::Used { at: *at }, Start::Go),
            None => (Stage::Used { at: now }, Start::Go),
        };
        self.0.insert(device.clone(), next);
        start
    }

    /// What [`start`](Self::start) asked for has ended.
    pub(super) fn prepared(&mut self, device: &DeviceRef, well: bool) {
        if let Some(stage @ Stage::Preparing { .. }) = self.0.get_mut(device) {
            *stage = match *stage {
                Stage::Preparing { at, superseded: false } if well => Stage::Used { at },
                Stage::Preparing { at, .. } => Stage::Given { at, soiled: true },
                _ => return,
            };
        }
    }

    /// `device`, which was held, has not been by any answer since then.
    pub(super) fn released(&mut self, device: DeviceRef, since: Instant, now: Instant) {
        let over = match self.0.get(&device) {
            // Given away again in the meantime, it is the new holder's.
            Some(Stage::Given { at, .. } | Stage::Used { at }) => *at < since,
            Some(_) => false,
            None => true,
        };
        if over {
            let reason = super::BEING_RESET.to_owned();
            self.0.insert(device, Stage::Owed { due: now, failures: 0, reason });
        }
    }

    /// `device` is held, as the kubelet says. Returns whether that was news.
    pub(super) fn held(&mut self, device: DeviceRef, now: Instant) -> bool {
        let unexpected = matches!(self.0.get(&device), None | Some(Stage::Owed { .. }));
        if unexpected {
            self.0.insert(device, Stage::Used { at: now });
        }
        unexpected
    }

    /// When the next reset is due; `None` too when one must end first.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.running() >= AT_ONCE {
            return None;
        }
        let due = |stage: &Stage| match stage {
            Stage::Owed { due, .. } => Some(*due),
            _ => None,
        };
        self.0.values().filter_map(due).min()
    }

    fn running(&self) -> usize {
        self.0.values().filter(|stage| matches!(stage, Stage::Resetting { .. })).count()
    }

    /// Begins the resets that are due, as many as may run at a time.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<DeviceRef> {
        let room = AT_ONCE.saturating_sub(self.running());
        let mut begun = Vec::new();
        for (device, stage) in &mut self.0 {
            if let Stage::Owed { due, failures, reason } = stage
                && *due <= now
                && begun.len() < room
            {
                *stage = Stage::Resetting { failures: *failures, reason: std::mem::take(reason) };
                begun.push(device.clone());
            }
        }
        begun
    }

    /// A reset that was [begun](Self::begin) has ended.
    pub(super) fn ended(&mut self, device: &DeviceRef, outcome: Result<(), String>, now: Instant) {
        let Some(Stage::Resetting { failures, .. }) = self.0.get(device) else { return };
        let failures = *failures;
        match outcome {
            Ok(()) => drop(self.0.remove(device)),
            Err(reason) => {
                let stage =
                    Stage::Owed { due: now + wait(failures), failures: failures.saturating_add(1), reason };
                self.0.insert(device.clone(), stage);
            }
        }
    }

    /// Why `device` cannot be had, if so.
    pub(super) fn ailment(&self, device: &DeviceRef) -> Option<String> {
        match self.0.get(device)? {
            Stage::Owed { reason, .. } | Stage::Resetting { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }
}

fn wait(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests;
