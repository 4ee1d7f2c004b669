//! Node objects that decide about disputed claims, read one by one: a node agent may not list them all at
//! every dispute. That one cannot be read holds nothing else back.

use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::{ANSWER, ApiError, LONGEST_PAUSE, SHORTEST_PAUSE};
use crate::claims::{Disputed, Verdict, Verdicts};
use crate::node_facts::NodeFacts;
use crate::report;
use crate::tripod_node::Claim;

/// How many Node objects are read before the next look at what is asked: honest nodes do not dispute.
const MOST_VERDICTS: usize = 64;
/// How many are read at a time.
const AT_ONCE: usize = 8;
/// A Node object that says no may say yes later, without a change of the claim.
const AGAIN: Duration = Duration::from_secs(300);

/// Keeps `verdicts` about all claims in `disputed`, for ever.
pub(super) async fn follow(
    nodes: Api<Node>,
    mut disputed: watch::Receiver<Disputed>,
    verdicts: watch::Sender<Arc<Verdicts>>,
) -> Infallible {
    let mut reader = Reader { nodes, verdicts, last: String::new(), complaint: None };
    let (mut pause, mut doubt_at) = (SHORTEST_PAUSE, Instant::now() + AGAIN);
    loop {
        let asked = disputed.borrow_and_update().clone();
        reader.forget(&asked);
        let doubts = Instant::now() >= doubt_at;
        if doubts {
            doubt_at = Instant::now() + AGAIN;
        }
        let was_answered = reader.read(reader.batch(&asked, doubts)).await;
        pause = if was_answered { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        let is_done = was_answered && reader.batch(&asked, false).is_empty();
        tokio::select! {
            () = sleep_until(if is_done { doubt_at } else { Instant::now() + pause }) => {}
            // While there are no answers, new questions wait as the old ones do.
            Ok(()) = disputed.changed(), if was_answered => {}
        }
    }
}

struct Reader {
    nodes: Api<Node>,
    verdicts: watch::Sender<Arc<Verdicts>>,
    /// The Node that was read last, so that the next batch goes on after it.
    last: String,
    complaint: Option<String>,
}

impl Reader {
    /// Drops the verdicts that nobody asks for any more.
    fn forget(&self, asked: &Disputed) {
        let is_asked = |(name, verdict): (&String, &Verdict)| asked.get(name) == Some(&verdict.claim);
        self.verdicts.send_if_modified(|verdicts| {
            let is_new = !verdicts.iter().all(is_asked);
            if is_new {
                Arc::make_mut(verdicts).retain(|name, verdict| is_asked((name, verdict)));
            }
            is_new
        });
    }

    fn batch(&self, asked: &Disputed, doubts: bool) -> Vec<(String, Claim)> {
        batch(asked, &self.verdicts.borrow(), &self.last, doubts)
    }

    /// Reads the Node objects of a batch, and returns whether each was answered.
    async fn read(&mut self, batch: Vec<(String, Claim)>) -> bool {
        let Some((last, _)) = batch.last() else { return true };
        self.last.clone_from(last);
        let (mut found, mut failure) = (Verdicts::new(), None);
        let nodes = &self.nodes;
        let mut answers =
            stream::iter(batch).map(|(name, claim)| ask(nodes, name, claim)).buffer_unordered(AT_ONCE);
        while let Some((name, answer)) = answers.next().await {
            match answer {
                Ok(verdict) => drop(found.insert(name, verdict)),
                Err(error) => {
                    let is_silent = matches!(error, ApiError::Silent(_));
                    failure = Some((name, error));
                    if is_silent {
                        break;
                    }
                }
            }
        }
        drop(answers);
        self.publish(found);
        self.complain(failure)
    }

    fn publish(&self, found: Verdicts) {
        self.verdicts.send_if_modified(|verdicts| {
            let is_new = found.iter().any(|(name, verdict)| verdicts.get(name) != Some(verdict));
            if is_new {
                Arc::make_mut(verdicts).extend(found);
            }
            is_new
        });
    }

    /// Tells a failure once, and returns whether there was none.
    fn complain(&mut self, failure: Option<(String, ApiError)>) -> bool {
        let complaint = failure.as_ref().map(|(_, error)| report::chain(error));
        if let Some((name, _)) = failure.filter(|_| complaint != self.complaint) {
            let error = complaint.as_deref();
            tracing::warn!(
                node = name,
                error,
                "cannot read the Node object that decides about a claim; trying again"
            );
        }
        self.complaint = complaint;
        self.complaint.is_none()
    }
}

/// The next claims after node `last` without a verdict, and with `doubts` those with a bad one.
fn batch(asked: &Disputed, verdicts: &Verdicts, last: &str, doubts: bool) -> Vec<(String, Claim)> {
    let is_open = |name: &str| verdicts.get(name).is_none_or(|verdict| doubts && !verdict.is_right);
    let after = asked.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
    let all = after.chain(asked.range::<str, _>((Bound::Unbounded, Bound::Included(last))));
    let open = all.filter(|(name, _)| is_open(name)).take(MOST_VERDICTS);
    open.map(|(name, claim)| (name.clone(), claim.clone())).collect()
}

async fn ask(nodes: &Api<Node>, name: String, claim: Claim) -> (String, Result<Verdict, ApiError>) {
    let answer = timeout(ANSWER, nodes.get_opt(&name)).await;
    let answer = answer.map_err(|_elapsed| ApiError::Silent(ANSWER));
    let verdict = answer.and_then(|answer| answer.map_err(ApiError::Read)).map(|node| {
        let facts = node.as_ref().and_then(|node| NodeFacts::inspect(node).ok());
        Verdict::new(claim, facts.as_ref())
    });
    (name, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Mac;

    #[test]
    fn batches_go_round_and_leave_out_what_is_decided() {
        let claim = |name: &str| Claim {
            node_uid: name.into(),
            addresses: Vec::new(),
            pod_cidrs: Vec::new(),
            vtep_mac: Mac::of_node(name),
            protocol: 1,
        };
        let asked: Disputed = (100..200).map(|n| (format!("n{n}"), claim(&format!("n{n}")))).collect();
        let says = |name: &str, is_right| (name.to_owned(), Verdict { claim: claim(name), is_right });
        let verdicts = Verdicts::from([says("n101", true), says("n170", false)]);
        let names = |last: &str, doubts| -> Vec<_> {
            batch(&asked, &verdicts, last, doubts).into_iter().map(|(name, _)| name).collect()
        };
        let first = names("", false);
        assert_eq!((first.len(), first[0].as_str(), first[1].as_str()), (64, "n100", "n102"));
        let second = names(&first[63], false);
        assert_eq!((second[0].as_str(), second.contains(&"n100".to_owned())), ("n165", true));
        assert!(!second.contains(&"n170".to_owned()) && names("n169", true)[0] == "n170");
        // One that cannot be read keeps nobody waiting.
        assert_eq!(names("n199", false)[0], "n100");
    }
}
