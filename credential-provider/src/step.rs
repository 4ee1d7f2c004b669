//! How long things may take. (Placeholder types merged from the network layer.)

use std::time::{Duration, Instant};

/// When the program has to be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long after `start`.
    pub fn after(start: Instant, time: Duration) -> Self {
        Self(start + time)
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}
