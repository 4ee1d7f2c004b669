//! The kubelet's side of the wiring: what its releases and platforms want, what of it our entries need, and what
//! its file says.

pub mod document;
pub mod entries;
pub mod file;
pub mod miss;
pub mod platform;
pub mod version;
