//! What the running parts tell about themselves, for `/metrics`, `/readyz` and the self-check. Written
//! on the way, read when somebody asks; nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::config::resource_name::ResourceName;
use crate::inventory::{Change, Snapshot};
use crate::metrics::histogram::Histogram;

/// The state of a registration of which the kubelet knows.
pub const LIVE: &str = "live";

/// Shared by all who write on it and read it.
#[derive(Clone, Debug, Default)]
pub struct Board {
    rows: Arc<Mutex<BTreeMap<ResourceName, Row>>>,
    scans: Arc<Mutex<Histogram>>,
    questions: Arc<Notify>,
}

/// What is known of one resource.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the kubelet is to be told.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Since when it is this.
    pub since: Instant,
    /// Where its registration stands.
    pub state: &'static str,
    /// How often it was registered.
    pub registrations: u64,
    /// How many streams are open.
    pub streams: u64,
    /// How long Allocate took.
    pub allocate: Histogram,
    /// How long GetPreferredAllocation took.
    pub preferred: Histogram,
    /// How often a device failed, and how often one recovered.
    pub health_changes: (u64, u64),
    /// How many resets succeeded, and how many failed.
    pub resets: (u64, u64),
    /// What went wrong last, and when.
    pub last_error: Option<(String, SystemTime)>,
    /// What the kubelet has of it, once it has been asked.
    pub kubelet: Option<Comparison>,
}

/// The kubelet's healthy devices of a resource beside ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many it has as we do.
    pub common: usize,
    /// How many it lacks.
    pub missing: usize,
    /// How many it has that we do not offer.
    pub surplus: usize,
}

/// The row of one resource, for the parts that write it.
#[derive(Clone, Debug)]
pub struct Tally {
    board: Board,
    resource: ResourceName,
}

impl Board {
    /// Begins a row for the resource of `snapshots`.
    pub fn begin(&self, snapshots: watch::Receiver<Arc<Snapshot>>) -> Tally {
        let resource = snapshots.borrow().resource().clone();
        let row = Row {
            snapshots,
            since: Instant::now(),
            state: "idle",
            registrations: 0,
            streams: 0,
            allocate: Histogram::default(),
            preferred: Histogram::default(),
            health_changes: (0, 0),
            resets: (0, 0),
            last_error: None,
            kubelet: None,
        };
        self.with(|rows| rows.insert(resource.clone(), row));
        self.questions.notify_one();
        Tally { board: self.clone(), resource }
    }

    /// All rows as they are now.
    pub fn rows(&self) -> BTreeMap<ResourceName, Row> {
        self.with(|rows| rows.clone())
    }

    /// Writes down what the kubelet has of `resource`.
    pub fn compare(&self, resource: &ResourceName, comparison: Comparison) {
        self.with(|rows| rows.get_mut(resource).map(|row| row.kubelet = Some(comparison)));
    }

    /// What the kubelet is to be told of `resource`, if that is offered.
    pub fn snapshot(&self, resource: &str) -> Option<Arc<Snapshot>> {
        self.with(|rows| {
            let row = rows.iter().find(|(name, _)| name.as_str() == resource).map(|(_, row)| row);
            row.map(|row| row.snapshots.borrow().clone())
        })
    }

    /// Counts a reset of a device of `resource`.
    pub fn reset_ended(&self, resource: &str, well: bool) {
        self.with(|rows| {
            let row = rows.iter_mut().find(|(name, _)| name.as_str() == resource);
            row.map(|(_, row)| *(if well { &mut row.resets.0 } else { &mut row.resets.1 }) += 1)
        });
    }

    /// Writes down how long a scan took.
    pub fn scanned(&self, took: Duration) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).add(took);
    }

    /// How long scans took.
    pub fn scans(&self) -> Histogram {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for something to ask the kubelet about, an Allocate, a new resource or another list; what came since the
    /// last wait counts.
    pub async fn questionable(&self) {
        self.questions.notified().await;
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ResourceName, Row>) -> T) -> T {
        act(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tally {
    /// Whose row it is.
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// Writes down that the kubelet is to be told something else from now on, of which it will be asked.
    pub fn list_changed(&self) {
        self.note(|row| row.since = Instant::now());
        self.board.questions.notify_one();
    }

    /// Counts `change` if it is one of health.
    pub fn health_changed(&self, change: &Change<'_>) {
        self.note(|row| match change {
            Change::Failed(_) => row.health_changes.0 += 1,
            Change::Recovered(_) => row.health_changes.1 += 1,
            Change::Appeared(_) | Change::Forgotten(_) => {}
        });
    }

    /// Changes the row.
    pub fn note(&self, change: impl FnOnce(&mut Row)) {
        self.board.with(|rows| rows.get_mut(&self.resource).map(change));
    }

    /// Writes down that an Allocate took so long, and what was wrong with it.
    pub fn allocated(&self, took: Duration, error: Option<String>) {
        self.note(|row| {
            row.allocate.add(took);
            if let Some(error) = error {
                row.last_error = Some((error, SystemTime::now()));
            }
        });
        self.board.questions.notify_one();
    }

    /// Ends the row.
    pub fn end(&self) {
        self.board.with(|rows| rows.remove(&self.resource));
    }
}

impl Row {
    /// Whether the kubelet has been told of it and, as far as that is known, hands out all of it.
    pub fn is_in_order(&self) -> bool {
        self.state == LIVE && self.kubelet.is_none_or(|comparison| comparison.missing == 0)
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let snapshot = self.snapshots.borrow().clone();
        let listed = snapshot.listed();
        let healthy = snapshot.healthy().count();
        let seen = match self.kubelet {
            None => String::new(),
            Some(Comparison { missing: 0, surplus: 0, .. }) => ", the kubelet has the same".to_owned(),
            Some(Comparison { common, missing, surplus }) => {
                format!(", the kubelet has {common} of them, lacks {missing} and has {surplus} others")
            }
        };
        format!("{}: {}, {listed} listed, {healthy} healthy{seen}", snapshot.resource(), self.state)
    }
}
