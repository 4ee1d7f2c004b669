//! One integration binary (one link) of all cases that run the real programs.

mod cni;
mod node;
mod workspace;
