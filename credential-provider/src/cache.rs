//! Credentials that outlive one run, shared by all runs on the node. A node that starts pulls a hundred
//! images at once, and the kubelet runs this program for each; the registry is to be asked once.
//!
//! Nothing that is wrong with it is in a pull's way: without a cache each run asks for itself. Where a run's time
//! goes, `defaults.deadline` being all of it:
//!
//! | what is kept | who comes first | who comes meanwhile |
//! |---|---|---|
//! | good, in the first half of its life | takes it, without a lock | the same |
//! | good, past half of its life | renews it, for a fifth of the time and at least a second; when that fails takes what is there, and for 30 s nobody tries again | takes what is there, at once |
//! | nothing good | asks, for nine tenths of the time, or all but half a second: the rest is for those who wait | waits for the first one's answer, and takes it, or its failure |
//!
//! A failure is taken by those who came before it was written down, and by nobody else: who comes later asks anew.
//! What cannot be shared, such as an answer whose end nobody knows, each asks for alone, and all at the same time.
//! A holder of the lock that does not keep its own time (it may be stopped) is waited for no longer.

pub mod entry;
pub mod key;
pub mod lock;
pub mod note;
pub mod store;

use std::time::{Duration, SystemTime};

use crate::provider::{Credential, FetchError, Run};
use entry::Entry;
use key::CacheKey;
use lock::{Lock, Turn};
use note::{News, Note, Tick};
use store::Store;

/// The least that a renewal is given.
const SHORTEST_RENEWAL: Duration = Duration::from_secs(1);

/// The least that others have for hearing what came of the first one's call.
const TELLING: Duration = Duration::from_millis(500);

/// What is kept under a key, and when it is looked at.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    store: &'a Store,
    key: &'a CacheKey,
    now: SystemTime,
}

/// What is kept under `key` where that is good, else what `fetch` gets, which is kept from then on.
pub fn through(
    store: &Store,
    key: &CacheKey,
    run: &Run,
    fetch: impl FnOnce(&Run) -> Result<Credential, FetchError>,
) -> Result<Credential, FetchError> {
    let place = Place { store, key, now: run.now };
    match place.good() {
        Some(entry) if entry.is_young(run.now) => Ok(entry.into_credential()),
        Some(entry) => Ok(place.renew(run, fetch).unwrap_or_else(|| entry.into_credential())),
        None => place.obtain(run, fetch),
    }
}

impl Place<'_> {
    fn good(self) -> Option<Entry> {
        self.store.load(self.key).ok().flatten().filter(|entry| entry.is_good(self.now))
    }

    /// A newer one than that which is there, and still good; none if somebody else sees to it, now or a moment ago.
    fn renew(
        self,
        run: &Run,
        fetch: impl FnOnce(&Run) -> Result<Credential, FetchError>,
    ) -> Option<Credential> {
        let lock = self.store.try_lock(self.key)?;
        if lock.note().is_some_and(|note| note.forbids_renewal(self.now)) {
            return None;
        }
        // Somebody may have got it since this run looked.
        if let Some(entry) = self.good().filter(|entry| entry.is_young(self.now)) {
            return Some(entry.into_credential());
        }
        self.fetch(&lock, &run.within((run.deadline.left() / 5).max(SHORTEST_RENEWAL)), fetch).ok()
    }

    fn obtain(
        self,
        run: &Run,
        fetch: impl FnOnce(&Run) -> Result<Credential, FetchError>,
    ) -> Result<Credential, FetchError> {
        let arrival = Tick::now();
        let lock = match self.store.lock(self.key, patience(run), run.deadline) {
            Turn::Ours(lock) => Some(lock),
            Turn::Without => None,
            Turn::Late => return Err(FetchError::Waited),
        };
        if let Some(entry) = self.good() {
            return Ok(entry.into_credential());
        }
        let Some(lock) = lock else { return self.keep(fetch(run)?) };
        match lock.note().and_then(|note| note.into_news_since(arrival)) {
            Some(News::Failed(told)) => Err(told.into()),
            Some(News::Alone) => {
                drop(lock);
                self.keep(fetch(run)?)
            }
            Some(News::Asking(_)) | None => self.fetch(&lock, &run.within(share_of_first(run)), fetch),
        }
    }

    /// Asks, and tells those who wait for `lock` what came of it.
    fn fetch(
        self,
        lock: &Lock,
        run: &Run,
        fetch: impl FnOnce(&Run) -> Result<Credential, FetchError>,
    ) -> Result<Credential, FetchError> {
        let tell = |news| lock.leave(&Note::new(news, self.now));
        tell(News::Asking(Tick::at(run.deadline)));
        match fetch(run) {
            Ok(credential) => {
                let is_kept = Entry::of(&credential, self.now)
                    .is_some_and(|entry| self.store.keep(self.key, &entry, self.now).is_ok());
                if is_kept {
                    lock.leave_nothing()
                } else {
                    tell(News::Alone)
                }
                Ok(credential)
            }
            Err(error) => {
                tell(News::of(&error));
                let _not_swept = self.store.sweep(self.now);
                Err(error)
            }
        }
    }

    /// Keeps what was got without the lock.
    fn keep(self, credential: Credential) -> Result<Credential, FetchError> {
        let _not_kept =
            Entry::of(&credential, self.now).map(|entry| self.store.keep(self.key, &entry, self.now));
        Ok(credential)
    }
}

impl Run {
    /// The same with no more time than this.
    fn within(&self, time: Duration) -> Self {
        let deadline = self.deadline.within(time);
        Self { deadline, now: self.now, network: self.network.until(deadline) }
    }
}

/// What is left after it is for those who came at the same time, to hear of it.
fn share_of_first(run: &Run) -> Duration {
    let left = run.deadline.left();
    left - (left / 10).max(TELLING).min(left / 2)
}

/// For a holder of the lock that does not say how long it will take. What is left then has to do for asking oneself.
fn patience(run: &Run) -> Duration {
    run.deadline.left() / 5 * 3
}

#[cfg(test)]
mod tests;
