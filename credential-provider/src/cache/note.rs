//! What the holder of a lock has to say to those who wait for it: one JSON object in the lock's own file, which is
//! 0600 as the entries are. It holds no secret: an error has none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::chain;
use crate::json;
use crate::provider::FetchError;
use crate::step::Deadline;

/// The format's version.
const VERSION: u8 = 1;
/// Longest error that is passed on, in characters; what far ends write stands in none.
const LONGEST_ERROR: usize = 4096;
/// So long after a renewal failed nobody tries again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// A moment that all processes of the node agree on, whatever is done to its clock: since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Tick(u64);

/// What the holder of a lock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    v: u8,
    /// When it was written.
    at: Tick,
    /// The same by the clock, in seconds since 1970.
    clock: u64,
    pub(super) news: News,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum News {
    /// It asks, and is done by then, one way or the other.
    Asking(Tick),
    /// It was refused.
    Failed(Told),
    /// It has an answer, or a refusal, that is for nobody else.
    Alone,
}

/// Why there are no credentials, as it was told to one of several who wanted them.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("asked once for several pulls: {error}")]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The error and its causes.
    error: String,
    /// What the admin can do about it.
    pub(crate) remedy: String,
    /// Whether nobody was there in whose name to ask.
    pub(crate) no_identity: bool,
}

impl Tick {
    pub(super) fn now() -> Self {
        let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self::of(since)
    }

    /// Of `deadline`.
    pub(super) fn at(deadline: Deadline) -> Self {
        Self::of(Duration::from_nanos(Self::now().0) + deadline.left())
    }

    /// What is left until so long after it.
    pub(super) fn left_with(self, grace: Duration) -> Duration {
        (Duration::from_nanos(self.0) + grace).saturating_sub(Duration::from_nanos(Self::now().0))
    }

    fn of(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Note {
    pub(super) fn new(news: News, now: SystemTime) -> Self {
        let clock = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { v: VERSION, at: Tick::now(), clock, news }
    }

    /// None of bytes that are something else, or half a note.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        json::parse_object(bytes).ok().filter(|note: &Self| note.v == VERSION)
    }

    /// The news, if they are for somebody who came at `tick`: news from before say nothing to him.
    pub(super) fn into_news_since(self, tick: Tick) -> Option<News> {
        (self.at >= tick && self.at <= Tick::now()).then_some(self.news)
    }

    /// Whether it is so fresh that nobody is to try again for the sake of renewal: who succeeds leaves none.
    pub(super) fn forbids_renewal(&self, now: SystemTime) -> bool {
        let since = UNIX_EPOCH.checked_add(Duration::from_secs(self.clock));
        let age = since.and_then(|since| now.duration_since(since).ok());
        age.is_some_and(|age| age < RENEWAL_PAUSE)
    }
}

impl News {
    /// What others are told of `error`.
    pub(super) fn of(error: &FetchError) -> Self {
        if !error.is_for_all() {
            return Self::Alone;
        }
        let error_text = chain(error).chars().take(LONGEST_ERROR).collect();
        let (remedy, no_identity) = (error.remedy().to_owned(), error.is_missing_identity());
        Self::Failed(Told { error: error_text, remedy, no_identity })
    }
}
