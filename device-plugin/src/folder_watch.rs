//! Noticing that something changed in a folder: inotify, and now and then a look anyway.
//!
//! Events say only that it is time to look again; what is true is read from the folder itself. So a lost
//! or doubled event does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::Instant;
use tokio_stream::StreamExt;

/// Changes that come together, such as a node and the link to it, are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// What is interesting in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Names that come and go. Content would not do for `/dev`: each write to a device is an event.
    Names,
    /// Names, and files whose content was written.
    NamesAndContent,
}

/// Watches a set of folders, which need not exist.
#[derive(Debug)]
pub struct FolderWatch {
    events: Option<EventStream<Vec<u8>>>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    interest: Interest,
    fallback: Duration,
    /// When it is time to look though nothing was told. Kept over calls that are cancelled: whoever waits
    /// for other things too would put it off with each of them.
    next_look: Instant,
    pending: bool,
}

impl FolderWatch {
    /// Watches nothing yet. Where the system grants no inotify instance, only the fallback is left.
    pub fn open(interest: Interest, fallback: Duration) -> FolderWatch {
        let events = Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; 4096]));
        if let Err(error) = &events {
            tracing::warn!(%error, "no inotify: changes are noticed only every {fallback:?}");
        }
        let (watched, next_look) = (BTreeMap::new(), Instant::now() + fallback);
        FolderWatch { events: events.ok(), watched, interest, fallback, next_look, pending: false }
    }

    /// Watches exactly `folders` from now on, of those the ones that exist. Returns whether one is watched
    /// that was not before: what happened in it until now went unnoticed.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(events) = &self.events else { return false };
        let mut watches = events.watches();
        self.watched.retain(|folder, descriptor| {
            // Removal fails when the folder is gone, and its watch with it.
            folders.contains(folder) || watches.remove(descriptor.clone()).is_err_and(|_gone| false)
        });
        let mut added = false;
        for folder in folders.iter().filter(|folder| !self.watched.contains_key(*folder)).collect::<Vec<_>>()
        {
            match watches.add(folder, mask(self.interest)) {
                Ok(descriptor) => {
                    self.watched.insert(folder.clone(), descriptor);
                    added = true;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder"),
            }
        }
        added
    }

    /// Waits until something may have changed. Safe to cancel.
    pub async fn changed(&mut self) {
        self.event().await;
        self.looked();
    }

    /// Waits until something may have changed and its company had time to follow. Safe to cancel: a change
    /// that a cancelled call saw is reported by the next.
    pub async fn settled(&mut self) {
        if !self.pending {
            self.event().await;
            self.pending = true;
        }
        tokio::time::sleep(SETTLE).await;
        self.next_look = Instant::now() + self.fallback;
        while tokio::time::timeout(Duration::ZERO, self.event()).await.is_ok() {}
        self.looked();
    }

    fn looked(&mut self) {
        self.pending = false;
        self.next_look = Instant::now() + self.fallback;
    }

    async fn event(&mut self) {
        let fallback = tokio::time::sleep_until(self.next_look);
        let Some(events) = &mut self.events else { return fallback.await };
        let event = tokio::select! {
            event = events.next() => event,
            () = fallback => return,
        };
        match event {
            Some(Ok(event)) if event.mask.contains(EventMask::IGNORED) => {
                // The folder is gone. One of the same name may follow and needs a watch of its own.
                self.watched.retain(|_, descriptor| *descriptor != event.wd);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "inotify failed: changes are noticed only every {:?}", self.fallback);
                self.events = None;
            }
            None => self.events = None,
        }
    }
}

fn mask(interest: Interest) -> WatchMask {
    let names = WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    match interest {
        Interest::Names => names,
        Interest::NamesAndContent => names | WatchMask::CLOSE_WRITE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_folder_that_is_replaced_is_watched_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("by-id");
        let both = BTreeSet::from([parent.path().to_owned(), folder.clone()]);
        let mut watch = FolderWatch::open(Interest::Names, NEVER);
        assert!(watch.follow(&both));
        for round in 0..3 {
            std::fs::create_dir(&folder).unwrap();
            watch.changed().await;
            assert!(watch.follow(&both), "round {round}");
            std::fs::write(folder.join("link"), "").unwrap();
            watch.changed().await;
            assert!(!watch.follow(&both));
            std::fs::remove_dir_all(&folder).unwrap();
            watch.settled().await;
        }
    }

    #[tokio::test]
    async fn writing_counts_only_where_content_does() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let set = BTreeSet::from([folder.path().to_owned()]);
        for (interest, expected) in [(Interest::Names, false), (Interest::NamesAndContent, true)] {
            let mut watch = FolderWatch::open(interest, NEVER);
            watch.follow(&set);
            std::fs::write(folder.path().join("file"), "new").unwrap();
            let noticed = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await.is_ok();
            assert_eq!(noticed, expected, "{interest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_something_else_too_puts_the_fallback_off_no_longer() {
        let mut watch = FolderWatch::open(Interest::Names, Duration::from_secs(30));
        let before = tokio::time::Instant::now();
        // Another thing happens each ten seconds, and each time the wait is begun anew.
        let mut others = 0;
        loop {
            tokio::select! {
                () = watch.settled() => break,
                () = tokio::time::sleep(Duration::from_secs(10)) => others += 1,
            }
            assert!(others < 10, "the fallback never comes");
        }
        assert!(before.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_event_the_fallback_comes() {
        let mut watch = FolderWatch::open(Interest::Names, Duration::from_secs(30));
        let before = tokio::time::Instant::now();
        watch.changed().await;
        assert!(before.elapsed() >= Duration::from_secs(30));
    }
}
