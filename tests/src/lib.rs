//! The harness: throwaway nodes made of kernel namespaces, stand-ins for the peers that nobody can run
//! everywhere (the kubelet's side of gRPC, a registry with a password), and the programs under test.

pub mod kubelet;
pub mod programs;
