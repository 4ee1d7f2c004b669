//! One integration binary (one link) of all cases that run the real programs.

mod chart;
mod cni;
mod credential_provider;
mod device_plugin;
mod node;
mod readme;
mod workspace;
