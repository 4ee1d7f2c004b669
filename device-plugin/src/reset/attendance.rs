//! Running the resets that releases ask for.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::Resets;
use super::hook::Errand;
use super::tenancy::DeviceRef;
use crate::inventory::Snapshot;
use crate::podresources::{Release, Usage};

impl Resets {
    /// Resets what `releases` name, unless the last of the answers `usage` says that it is held, for as long
    /// as somebody sends either.
    pub(crate) async fn attend(
        self,
        mut releases: mpsc::Receiver<Release>,
        mut usage: watch::Receiver<Option<Usage>>,
    ) {
        loop {
            let due = self.tenancies().due();
            tokio::select! {
                Some(release) = releases.recv() => self.released(release),
                Ok(()) = usage.changed() => {}
                () = at(due) => {}
                () = self.0.ended.notified() => {}
            }
            if let Some(usage) = usage.borrow_and_update().as_ref() {
                self.hear(usage);
            }
            for device in self.tenancies().begin(Instant::now()) {
                tokio::spawn(self.clone().reset(device));
            }
        }
    }

    fn released(&self, release: Release) {
        let Release { resource, id, since } = release;
        if self.snapshot(&resource).is_some_and(|snapshot| snapshot.reset().is_some()) {
            self.tenancies().released(DeviceRef { resource, id }, since, Instant::now());
            self.0.news.notify_one();
        }
    }

    /// Takes in what is held.
    fn hear(&self, usage: &Usage) {
        for (resource, ids) in usage.in_use() {
            if self.snapshot(resource).is_none_or(|snapshot| snapshot.reset().is_none()) {
                continue;
            }
            for id in ids {
                let device = DeviceRef { resource: resource.clone(), id: id.clone() };
                if self.tenancies().held(device, usage.asked) {
                    self.0.news.notify_one();
                }
            }
        }
    }

    async fn reset(self, device: DeviceRef) {
        let snapshot = self.snapshot(&device.resource).filter(|snapshot| snapshot.reset().is_some());
        let outcome = match snapshot.as_ref().map(|snapshot| Errand::of(snapshot, &device.id)) {
            // What is offered without a hook, or not at all, is no longer ours to reset.
            None => Ok(()),
            Some(None) => Err("it was to be reset, and is gone".to_owned()),
            Some(Some(errand)) => self
                .run(&device, &errand)
                .await
                .map_err(|error| format!("its reset failed: {error}; see the hook {}", errand.program())),
        };
        self.tenancies().ended(&device, outcome, Instant::now());
        self.0.news.notify_one();
        self.0.ended.notify_one();
    }

    fn snapshot(&self, resource: &str) -> Option<Arc<Snapshot>> {
        self.0.board.snapshot(resource)
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
