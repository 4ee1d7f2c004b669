//! Asking the kubelet, now and then, what containers hold and what it could hand out.
//!
//! There is no call by which a kubelet tells that a device was given back, so the difference between two
//! answers has to. A kubelet that does not answer keeps nothing from working: what has vanished is then
//! remembered instead of forgotten, and no release is noticed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Endpoint};
use tripod_proto::podresources::v1::pod_resources_lister_client::PodResourcesListerClient;
use tripod_proto::podresources::v1::{AllocatableResourcesRequest, ListPodResourcesRequest};

use crate::board::{Board, Comparison, Row};

mod usage;

use usage::Releases;
#[cfg(test)]
pub(crate) use usage::tests::usage as usage_of;
pub use usage::{Ids, Release, Usage};

/// Every device of every container of the node is named in one message.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);
/// An admission goes on for a moment after our part of it; and several may come at once.
const AFTER_ALLOCATE: Duration = Duration::from_secs(1);

/// Where and how often to ask.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The kubelet's socket.
    pub socket: PathBuf,
    /// How often when nothing happens.
    pub interval: Duration,
}

/// Why the kubelet could not be asked.
#[derive(Debug, thiserror::Error)]
enum InquiryError {
    #[error("cannot connect to {}", .0.display())]
    Connect(PathBuf, #[source] tonic::transport::Error),
    #[error("the kubelet refuses {call}: {}", .status.message())]
    Refused { call: &'static str, status: Box<tonic::Status> },
    #[error("the kubelet does not answer within {DEADLINE:?}")]
    Deadline,
}

/// Asks for as long as somebody holds the receiver, whose value is the last answer to what containers hold.
/// Each release is sent to `releases` too, unless nobody has taken the earlier ones from there. What the
/// kubelet could hand out is compared with ours on `board`.
pub fn watch(
    inquiry: Inquiry,
    board: Board,
    releases: Option<mpsc::Sender<Release>>,
) -> watch::Receiver<Option<Usage>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        tokio::select! {
            () = poll(&inquiry, &board, &sender, releases) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn poll(
    inquiry: &Inquiry,
    board: &Board,
    answers: &watch::Sender<Option<Usage>>,
    releases: Option<mpsc::Sender<Release>>,
) {
    let mut complaint = String::new();
    let mut given_back = Releases::default();
    loop {
        let ours = board.rows().keys().map(ToString::to_string).collect();
        let answer = tokio::time::timeout(DEADLINE, ask(inquiry, board, &ours)).await;
        match answer.unwrap_or(Err(InquiryError::Deadline)) {
            Ok(usage) => {
                complaint.clear();
                tell(given_back.settle(&usage, &ours, inquiry.interval), releases.as_ref());
                answers.send_replace(Some(usage));
            }
            Err(error) => complain(&mut complaint, inquiry, &error),
        }
        tokio::select! {
            () = tokio::time::sleep(inquiry.interval) => {}
            () = board.questionable() => tokio::time::sleep(AFTER_ALLOCATE).await,
        }
    }
}

/// Says once that something is in the way, and again when it is something else.
fn complain(last: &mut String, inquiry: &Inquiry, error: &InquiryError) {
    let complaint = if inquiry.socket.exists() {
        crate::error::chain(error)
    } else {
        format!("there is no {}: what containers hold is not known", inquiry.socket.display())
    };
    if complaint != *last {
        tracing::info!("podresources: {complaint}");
        *last = complaint;
    }
}

fn tell(released: Vec<Release>, releases: Option<&mpsc::Sender<Release>>) {
    for release in released {
        tracing::info!(resource = release.resource, device_id = release.id, "released");
        if let Some(Err(error)) = releases.map(|releases| releases.try_send(release)) {
            tracing::warn!(%error, "a release is not acted upon");
        }
    }
}

async fn ask(inquiry: &Inquiry, board: &Board, ours: &BTreeSet<String>) -> Result<Usage, InquiryError> {
    let connect_failed = |source| InquiryError::Connect(inquiry.socket.clone(), source);
    let target = Endpoint::from_shared(format!("unix:{}", inquiry.socket.display()));
    let channel = target.map_err(connect_failed)?.connect().await.map_err(connect_failed)?;
    let mut kubelet = PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let asked = Instant::now();
    let answer = kubelet.list(ListPodResourcesRequest {}).await;
    let refused = |status| InquiryError::Refused { call: "List", status: Box::new(status) };
    let usage = Usage::of(answer.map_err(refused)?.into_inner(), ours, asked);
    if let Err(error) = compare(&mut kubelet, board, ours).await {
        // Kubelets before 1.28 may lack this call, and it only tells people something.
        tracing::debug!("podresources: {}", crate::error::chain(&error));
    }
    Ok(usage)
}

/// Puts down what the kubelet could hand out beside what we offer.
async fn compare(
    kubelet: &mut PodResourcesListerClient<Channel>,
    board: &Board,
    ours: &BTreeSet<String>,
) -> Result<(), InquiryError> {
    let answer = kubelet.get_allocatable_resources(AllocatableResourcesRequest {}).await;
    let refused =
        |status| InquiryError::Refused { call: "GetAllocatableResources", status: Box::new(status) };
    let theirs = usage::ids(answer.map_err(refused)?.into_inner().devices.into_iter(), ours);
    for (resource, row) in board.rows() {
        let comparison = beside(&row, theirs.get(resource.as_str()));
        if comparison != row.kubelet.unwrap_or_default() {
            let Comparison { common, missing, surplus } = comparison;
            tracing::debug!(%resource, common, missing, surplus, "the kubelet's devices beside ours");
        }
        board.compare(&resource, comparison);
    }
    Ok(())
}

fn beside(row: &Row, theirs: Option<&BTreeSet<String>>) -> Comparison {
    let snapshot = row.snapshots.borrow().clone();
    let (mut common, mut missing) = (0, 0);
    for id in snapshot.healthy() {
        if theirs.is_some_and(|theirs| theirs.contains(id)) {
            common += 1;
        } else {
            missing += 1;
        }
    }
    Comparison { common, missing, surplus: theirs.map_or(0, BTreeSet::len) - common }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn releases_are_passed_on_and_never_waited_for() {
        let (releases, mut taken) = mpsc::channel(1);
        let since = Instant::now();
        let release = |id: &str| Release { resource: "a/b".to_owned(), id: id.to_owned(), since };
        tell(vec![release("x"), release("y")], Some(&releases));
        drop(releases);
        assert_eq!(taken.recv().await, Some(release("x")));
        assert_eq!(taken.recv().await, None, "nobody had room for another one");
    }
}
