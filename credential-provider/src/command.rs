//! What the program can be told to do.

pub mod answer;
pub mod cache;
pub mod check_config;
pub mod doctor;
pub mod explain;
pub mod get;
pub mod kubelet_config;
mod kubelet_files;

use std::time::{Instant, SystemTime};

use crate::config::Config;
use crate::http::{Client, Network, NetworkVariables};
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
        let deadline = Deadline::after(self.start, config.defaults.deadline);
        let variable = |name: &str| self.variables.text(name).map(str::to_owned);
        let network = Network {
            proxy: config.defaults.proxy.clone(),
            ca_file: config.defaults.ca_file.clone(),
            variables: NetworkVariables::read(variable),
            ..Network::default()
        };
        Run { deadline, now: self.now, network: Client::new(&network, deadline) }
    }
}
