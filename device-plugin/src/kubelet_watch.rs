//! Noticing what the kubelet does to its device plugin directory: it removes all sockets when it starts,
//! then makes its own.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use crate::folder_watch::{FolderWatch, Interest};
use crate::socket::PluginDir;

/// How often the directory is looked at when no event says so.
const FALLBACK: Duration = Duration::from_secs(5);

/// Watches `dir` for as long as somebody holds the receiver, whose value changes whenever it is time to
/// look at the sockets again. Which socket is which, each looker finds out by
/// [`SocketIdentity`](crate::socket::SocketIdentity), so nothing depends on the kind or order of events.
pub fn watch(dir: PluginDir) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        let mut folder = FolderWatch::open(Interest::Names, FALLBACK);
        let folders = BTreeSet::from([dir.path().to_owned()]);
        loop {
            if folder.follow(&folders) {
                // What was made between the first look and this moment is told by no event.
                sender.send_modify(|looks| *looks += 1);
            }
            tokio::select! {
                () = folder.changed() => sender.send_modify(|looks| *looks += 1),
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_socket_made_before_the_folder_was_watched_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut looks = watch(PluginDir::new(folder.path()).unwrap());
        // The task has not run yet: on a test's one thread it does at the first await.
        std::fs::write(folder.path().join("kubelet.sock"), "").unwrap();
        let before = Instant::now();
        looks.changed().await.unwrap();
        assert!(before.elapsed() < FALLBACK);
    }
}
