//! What an admin should see without reading logs: events about this node's Node object. Each reason is told
//! of each subject at most once in ten minutes, and what cannot be told soon is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Why an event is written. The names are for alerts to rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Another CNI configuration sorts before ours.
    ForeignCniPreempts,
    /// The conflist is written, and the runtime does not take it.
    ConflistNotLoaded,
    /// The Node has no pod CIDRs.
    PodCidrMissing,
    /// No address is left for pods.
    IpExhausted,
    /// Somebody's chain drops what the node forwards.
    ForwardDropDetected,
    /// A TripodNode's claim is not believed.
    PeerIgnored,
    /// A peer has no way to it.
    PeerUnlinked,
    /// The node cannot be brought to its state.
    ReconcileFailed,
    /// A program or a file is not on the host as the image and the ConfigMap say.
    InstallFailed,
    /// The credential provider's new configuration has mistakes.
    CredentialConfigInvalid,
}

impl Reason {
    /// The name.
    pub fn word(self) -> &'static str {
        match self {
            Self::ForeignCniPreempts => "ForeignCNIPreempts",
            Self::ConflistNotLoaded => "ConflistNotLoaded",
            Self::PodCidrMissing => "PodCIDRMissing",
            Self::IpExhausted => "IPExhausted",
            Self::ForwardDropDetected => "ForwardDropDetected",
            Self::PeerIgnored => "PeerIgnored",
            Self::PeerUnlinked => "PeerUnlinked",
            Self::ReconcileFailed => "ReconcileFailed",
            Self::InstallFailed => "InstallFailed",
            Self::CredentialConfigInvalid => "CredentialConfigInvalid",
        }
    }
}

/// One event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Why.
    pub reason: Reason,
    /// A sentence or two.
    pub note: String,
}

/// How long the same is not told again.
const REST: Duration = Duration::from_secs(600);
/// Most events that wait for an API server.
const MOST: usize = 64;
/// Most subjects that are remembered: what comes beyond them is told when one was forgotten.
const MOST_SUBJECTS: usize = 1024;
/// Longest note that an API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Events that wait for an API server.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Occurrence>,
    told: BTreeMap<(Reason, String), Instant>,
}

impl Queue {
    /// Lets `reason` be told of `subject`, unless it was told a moment ago.
    pub fn post(&self, reason: Reason, subject: &str, note: &str) {
        if self.with(|state| state.post(reason, subject, note, Instant::now())) {
            self.news.notify_one();
        }
    }

    /// The next one, once there is one. It stays until it is [`done`](Self::done).
    pub async fn next(&self) -> Occurrence {
        loop {
            if let Some(first) = self.with(|state| state.waiting.front().cloned()) {
                return first;
            }
            self.news.notified().await;
        }
    }

    /// Forgets the first one.
    pub fn done(&self) {
        self.with(|state| drop(state.waiting.pop_front()));
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn post(&mut self, reason: Reason, subject: &str, note: &str, now: Instant) -> bool {
        self.told.retain(|_, at| now.saturating_duration_since(*at) < REST);
        let key = (reason, subject.to_owned());
        if self.told.contains_key(&key) || self.told.len() >= MOST_SUBJECTS || self.waiting.len() >= MOST {
            return false;
        }
        self.told.insert(key, now);
        self.waiting.push_back(Occurrence { reason, note: cut(note) });
        true
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(LONGEST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_ten_minutes() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut post =
            |reason, subject, after| state.post(reason, subject, "x", start + Duration::from_secs(after));
        assert!(post(Reason::PeerIgnored, "n2", 0));
        assert!(!post(Reason::PeerIgnored, "n2", 599));
        assert!(post(Reason::PeerIgnored, "n3", 599) && post(Reason::PeerUnlinked, "n2", 599));
        assert!(post(Reason::PeerIgnored, "n2", 600));
    }

    #[test]
    fn an_outage_loses_what_is_beyond_the_bound() {
        let (mut state, now) = (State::default(), Instant::now());
        let told =
            (0..1000).filter(|node| state.post(Reason::PeerIgnored, &node.to_string(), "x", now)).count();
        assert_eq!((told, state.waiting.len()), (MOST, MOST));
        // What was lost is not taken for told.
        state.waiting.clear();
        assert!(state.post(Reason::PeerIgnored, "999", "x", now));
    }

    #[test]
    fn notes_are_cut_between_letters() {
        let note = "ü".repeat(600);
        assert_eq!(cut(&note).len(), 1024);
        assert_eq!(cut(&format!("a{note}")).len(), 1023);
    }
}
