//! What brings a device back into a state in which somebody else may have it.

use std::time::Duration;

/// A program that resets a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Absolute path in this program's own container.
    pub program: String,
    /// What it is called with.
    pub arguments: Vec<String>,
    /// After so long it is killed, and has failed.
    pub timeout: Duration,
}

impl Reset {
    /// The timeout where the config gives none.
    pub const TIMEOUT: Duration = Duration::from_secs(20);
}
