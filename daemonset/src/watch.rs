//! Folders under watch: wakes when a name in one of them appears, vanishes or is written.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask, Watches};

/// Any number of watched folders. What changes is not told: whoever wakes looks at everything.
pub struct Watch {
    watches: Watches,
    events: EventStream<Vec<u8>>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Opens a watch of nothing yet.
    pub fn open() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        Ok(Self { watches, events: inotify.into_event_stream(vec![0; 4096])? })
    }

    /// Watches the names in `folder` as well. A ConfigMap volume is updated by a rename inside its folder.
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        self.watches.add(folder, mask).map(|_descriptor| ())
    }

    /// Waits for a change, but no longer than `period`: a watch can go stale without a word, for example
    /// when a folder is mounted over.
    pub async fn changed(&mut self, period: Duration) {
        // Either way the caller looks; an overflow of the queue is an event as well.
        drop(tokio::time::timeout(period, self.events.next()).await);
    }
}
