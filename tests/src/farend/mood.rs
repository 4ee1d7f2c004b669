//! How well a far end does its work.

use std::collections::VecDeque;
use std::time::Duration;

/// A body that is no JSON, as a proxy's log-in page is none.
pub const NOT_JSON: &str = "<html><body>Please log in</body></html>";
/// A body that is JSON and answers nothing.
pub const WRONG_JSON: &str = r#"[{"unexpected": true}]"#;

/// How a request is treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As the service does on a good day.
    #[default]
    Well,
    /// Refused for being one too many, in the service's words.
    Throttled,
    /// Refused for want of a right, in the service's words.
    Denied,
    /// Answered with this status, as servers in trouble do.
    Failing(u16),
    /// Answered byte by byte with this pause after each.
    Slow(Duration),
    /// Answered after this time.
    Late(Duration),
    /// Read and never answered.
    Silent,
    /// Hung up on, unanswered.
    HungUp,
    /// Hung up on in the middle of the answer.
    Truncated,
    /// Answered with status 200 and this.
    Garbage(&'static str),
    /// Answered without an end.
    Oversized,
    /// Sent to the same path below this URL.
    Redirecting(String),
    /// Answered with something that is past already.
    Expired,
}

/// The moods that are set; the first that applies counts.
#[derive(Debug, Default)]
pub(super) struct Moods {
    pub(super) next: VecDeque<Mood>,
    pub(super) routes: Vec<(String, Mood)>,
    pub(super) always: Mood,
}

impl Moods {
    pub(super) fn take(&mut self, route: &str) -> Mood {
        let of_route = || self.routes.iter().find(|(prefix, _)| route.starts_with(prefix)).map(|(_, m)| m);
        self.next.pop_front().unwrap_or_else(|| of_route().unwrap_or(&self.always).clone())
    }
}
