//! The harness: throwaway nodes made of kernel namespaces, stand-ins for the peers that nobody can run
//! everywhere (the kubelet's side of gRPC, a registry with a password), and the programs under test.

pub mod apiserver;
pub mod calls;
pub mod chance;
pub mod cluster;
pub mod daemon;
pub mod demo;
pub mod e2e;
pub mod exec;
pub mod farend;
pub mod internet;
pub mod kernel;
pub mod kubelet;
pub mod namespace;
pub mod ping;
pub mod programs;
pub mod puller;
pub mod reach;
pub mod registry;
pub mod table;

use std::time::{Duration, Instant};

/// Waits until `probe` holds, looking often. The deadline is far beyond what any machine needs; it only
/// keeps a broken test from hanging.
pub fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !probe() {
        assert!(Instant::now() < deadline, "still not so after 60 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
