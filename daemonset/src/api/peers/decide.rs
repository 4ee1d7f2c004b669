//! Node objects that decide about disputed claims, read one by one: a node agent may not list them all at
//! every dispute. That one cannot be read holds nothing else back.

mod doubts;

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::api::{ANSWER, ApiError, LONGEST_PAUSE, SHORTEST_PAUSE};
use crate::claims::{Disputed, Verdict, Verdicts};
use crate::node_facts::NodeFacts;
use crate::report;
use crate::tripod_node::Claim;
use doubts::{Batch, Doubts};

/// How many are read at a time.
const AT_ONCE: usize = 8;

/// Keeps `verdicts` about all claims in `disputed`, for ever.
pub(super) async fn follow(
    nodes: Api<Node>,
    mut disputed: watch::Receiver<Disputed>,
    verdicts: watch::Sender<Arc<Verdicts>>,
) -> Infallible {
    let doubts = Doubts::new(Instant::now());
    let mut reader = Reader { nodes, verdicts, doubts, complaint: None };
    let mut pause = SHORTEST_PAUSE;
    loop {
        let asked = disputed.borrow_and_update().clone();
        reader.forget(&asked);
        let batch = reader.batch(&asked);
        if batch.claims.is_empty() {
            tokio::select! {
                () = sleep_until(reader.rest(&batch)) => {}
                Ok(()) = disputed.changed() => {}
            }
        } else {
            let was_answered = reader.read(batch).await;
            pause = if was_answered { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            // New questions wait: a node that asks one after the other must not set the pace.
            sleep(pause).await;
        }
    }
}

struct Reader {
    nodes: Api<Node>,
    verdicts: watch::Sender<Arc<Verdicts>>,
    doubts: Doubts,
    complaint: Option<String>,
}

impl Reader {
    /// Drops the verdicts that nobody asks for any more.
    fn forget(&mut self, asked: &Disputed) {
        let is_asked = |(name, verdict): (&String, &Verdict)| asked.get(name) == Some(&verdict.claim);
        self.verdicts.send_if_modified(|verdicts| {
            let is_new = !verdicts.iter().all(is_asked);
            if is_new {
                Arc::make_mut(verdicts).retain(|name, verdict| is_asked((name, verdict)));
            }
            is_new
        });
        self.doubts.forget(&self.verdicts.borrow());
    }

    fn batch(&mut self, asked: &Disputed) -> Batch {
        self.doubts.batch(asked, &self.verdicts.borrow(), Instant::now())
    }

    /// Until when there is nothing to be read, after a batch without any claim.
    fn rest(&mut self, batch: &Batch) -> Instant {
        self.doubts.answered(batch.is_round, Instant::now());
        self.doubts.due()
    }

    /// Reads the Node objects of a batch, and returns whether each was answered.
    async fn read(&mut self, batch: Batch) -> bool {
        let is_round = batch.is_round;
        let (mut found, mut failure) = (Verdicts::new(), None);
        let nodes = &self.nodes;
        let mut answers =
            stream::iter(batch.claims).map(|(name, claim)| ask(nodes, name, claim)).buffer_unordered(AT_ONCE);
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
        for (name, verdict) in &found {
            self.doubts.note(name, verdict, Instant::now());
        }
        self.publish(found);
        let was_answered = self.complain(failure);
        self.doubts.answered(is_round && was_answered, Instant::now());
        was_answered
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
mod tests;
