//! The verbs, one per module.

pub mod answer;
pub mod check_config;
pub mod explain;
pub mod kubelet_config;
