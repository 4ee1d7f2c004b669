//! What the program can be told to do.

pub mod answer;
pub mod cache;
pub mod check_config;
pub mod explain;
pub mod get;
pub mod kubelet_config;

use std::time::{Instant, SystemTime};

use crate::config::Config;
use crate::provider::{Run, Variables};
use crate::step::Deadline;

/// When and where the program runs.
#[derive(Clone, Debug)]
pub struct Context {
    /// When it started.
    pub start: Instant,
    /// The time of day at that moment.
    pub now: SystemTime,
    /// Its environment.
    pub variables: Variables,
}

impl Context {
    /// A run by `config`.
    pub fn run(&self, config: &Config) -> Run {
        Run { deadline: Deadline::after(self.start, config.defaults.deadline), now: self.now }
    }
}
