//! One ListAndWatch stream: which lists are sent, and when.

use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::inventory::Snapshot;

/// So many lists may follow each other without a pause: the first news of a failure must not wait.
const BURST: u32 = 4;
/// Of more than that one passes in this time. At each list a kubelet rewrites its whole checkpoint.
const EVERY: Duration = Duration::from_secs(2);

/// Sends the present list and later ones that differ from the last one sent. A reader that is slow, and a
/// device that comes and goes, are told of the latest state only.
pub(super) async fn feed(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    lists: &mpsc::Sender<Result<Bytes, Status>>,
) {
    let mut sent: Option<Arc<Snapshot>> = None;
    let mut pace = Pace::new();
    loop {
        pace.turn().await;
        // What is sent is chosen when there is room for it, so that no list grows old in a queue.
        let Ok(room) = lists.reserve().await else { return };
        let snapshot = snapshots.borrow_and_update().clone();
        if sent.as_ref().is_none_or(|sent| sent.list() != snapshot.list()) {
            room.send(Ok(snapshot.list().clone()));
            pace.took();
            sent = Some(snapshot);
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// When the next list may be sent.
struct Pace {
    /// When all that was sent so far would be through at one list in [`EVERY`].
    through: Instant,
}

impl Pace {
    fn new() -> Pace {
        Pace { through: Instant::now() }
    }

    async fn turn(&self) {
        sleep_until(self.through - EVERY * (BURST - 1)).await;
    }

    fn took(&mut self) {
        self.through = self.through.max(Instant::now()) + EVERY;
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tripod_proto::deviceplugin::v1beta1::ListAndWatchResponse;

    use super::*;
    use crate::config::resource_name::ResourceName;
    use crate::config::sharing::Sharing;
    use crate::device::Device;
    use crate::inventory::tests::devices;

    fn snapshot(devices: Vec<Device>) -> Arc<Snapshot> {
        let resource = ResourceName::parse("example.com/x").unwrap();
        Arc::new(Snapshot::new(resource, devices, Sharing::EXCLUSIVE))
    }

    type Lists = mpsc::Receiver<Result<Bytes, Status>>;

    fn start() -> (watch::Sender<Arc<Snapshot>>, Lists) {
        let (snapshots, receiver) = watch::channel(snapshot(devices(&["/dev/a"])));
        let (lists, stream) = mpsc::channel(1);
        tokio::spawn(async move { feed(receiver, &lists).await });
        (snapshots, stream)
    }

    async fn length(lists: &mut Lists) -> usize {
        let list = lists.recv().await.unwrap().unwrap();
        ListAndWatchResponse::decode(list).unwrap().devices.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_flaps_for_a_minute_is_told_of_a_few_times_and_in_the_end_rightly() {
        let (snapshots, mut lists) = start();
        let flapping = tokio::spawn(async move {
            for time in 0..600 {
                let paths: &[&str] = if time % 2 == 0 { &["/dev/a", "/dev/b"] } else { &["/dev/a"] };
                snapshots.send_replace(snapshot(devices(paths)));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            snapshots.send_replace(snapshot(devices(&["/dev/a", "/dev/b", "/dev/c"])));
            // Held until the list has arrived: without it the stream ends.
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        let mut told = 0;
        while length(&mut lists).await < 3 {
            told += 1;
        }
        assert!(told <= 4 + 30, "{told} lists in a minute");
        flapping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_changes_are_told_at_once_and_an_unchanged_list_never() {
        let (snapshots, mut lists) = start();
        let began = Instant::now();
        assert_eq!(length(&mut lists).await, 1);
        snapshots.send_replace(snapshot(devices(&["/dev/a"])));
        for paths in [&["/dev/a", "/dev/b"][..], &["/dev/a", "/dev/b", "/dev/c"]] {
            snapshots.send_replace(snapshot(devices(paths)));
            assert_eq!(length(&mut lists).await, paths.len());
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        snapshots.send_replace(snapshot(devices(&["/dev/a", "/dev/b", "/dev/c"])));
        let again = tokio::time::timeout(Duration::from_secs(60), lists.recv()).await;
        assert!(again.is_err(), "{again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_was_away_gets_the_newest_list_next() {
        let (snapshots, mut lists) = start();
        assert_eq!(length(&mut lists).await, 1);
        for paths in [&["/dev/a", "/dev/b"][..], &[], &["/dev/a", "/dev/b", "/dev/c"]] {
            snapshots.send_replace(snapshot(devices(paths)));
            tokio::time::sleep(EVERY * 2).await;
        }
        assert_eq!(length(&mut lists).await, 2, "this one was on its way");
        assert_eq!(length(&mut lists).await, 3);
    }
}
