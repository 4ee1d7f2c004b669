//! Steps towards a credential: each has a name, a bounded time, and one line to say why it failed.

mod problem;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

pub use problem::{Peer, Problem, Stage};

/// Why a step failed, in one line that holds no secret and nothing of what a far end wrote but a short
/// machine code: `step=imds-token err=timeout … hint=…`.
#[derive(Debug)]
pub struct StepError {
    /// The step's name.
    pub step: &'static str,
    /// What happened.
    pub problem: Problem,
    /// What the admin can do about it.
    pub hint: Option<Cow<'static, str>>,
}

impl StepError {
    /// Whether nobody is where the far end would be: of a metadata service this is another platform's machine, or one
    /// in the cellar.
    pub fn is_nobody(&self) -> bool {
        matches!(self.problem, Problem::Connect { .. } | Problem::Timeout { stage: Stage::Connect, .. })
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step={} err={}", self.step, self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, " hint={hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StepError {}

/// As good as for ever, for a patience beyond what the clock can count.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment by which something must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long after `start`.
    pub fn after(start: Instant, time: Duration) -> Self {
        Self(start.checked_add(time).unwrap_or(start + A_DAY))
    }

    /// So long from now.
    pub fn from_now(time: Duration) -> Self {
        Self::after(Instant::now(), time)
    }

    /// The sooner of this deadline and `patience` from now.
    pub fn within(self, patience: Duration) -> Self {
        self.min(Self::from_now(patience))
    }

    /// Time until then; zero once it is past.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is past.
    pub fn is_past(self) -> bool {
        self.left().is_zero()
    }

    /// The moment itself.
    pub fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Deadline, Peer, Problem, Stage, StepError};

    #[test]
    fn an_error_is_one_line() {
        let problem = Problem::Timeout {
            stage: Stage::Answer,
            peer: Peer::direct("169.254.169.254:80".into()),
            after: Duration::from_millis(1000),
        };
        let mut error = StepError { step: "imds-token", problem, hint: Some("hop limit?".into()) };
        assert_eq!(
            error.to_string(),
            "step=imds-token err=timeout while=answer peer=169.254.169.254:80 after=1.0s hint=hop limit?"
        );
        error.hint = None;
        error.problem = Problem::Status {
            status: 400,
            code: Some("AccessDenied".into()),
            peer: Peer::through("sts:443".into(), Some("proxy:3128".into())),
        };
        assert_eq!(
            error.to_string(),
            "step=imds-token err=status status=400 code=AccessDenied peer=sts:443 proxy=proxy:3128"
        );
    }

    #[test]
    fn who_does_not_answer_is_there_and_who_cannot_be_reached_is_not() {
        let is_nobody = |problem| StepError { step: "test", problem, hint: None }.is_nobody();
        let peer = || Peer::direct("169.254.169.254:80".into());
        let after = Duration::from_secs(1);
        assert!(is_nobody(Problem::Connect {
            peer: peer(),
            source: std::io::ErrorKind::HostUnreachable.into()
        }));
        assert!(is_nobody(Problem::Timeout { stage: Stage::Connect, peer: peer(), after }));
        assert!(!is_nobody(Problem::Timeout { stage: Stage::Answer, peer: peer(), after }));
        assert!(!is_nobody(Problem::Closed { peer: peer() }) && !is_nobody(Problem::NoTimeLeft));
    }

    #[test]
    fn the_sooner_deadline_counts() {
        let soon = Deadline::from_now(Duration::from_secs(1));
        assert_eq!(soon.within(Duration::from_secs(60)), soon);
        assert!(Deadline::from_now(Duration::from_secs(60)).within(Duration::ZERO).is_past());
        assert!(!Deadline::from_now(Duration::MAX).is_past());
        assert_eq!(Deadline::after(Instant::now(), Duration::ZERO).left(), Duration::ZERO);
    }
}
