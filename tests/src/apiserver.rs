//! A stand-in for the Kubernetes API server: Node and TripodNode objects over TLS with a certificate
//! authority of its own; get, list, watch and patch as far as a node agent may, and the ways in which a real
//! one fails.

mod answers;
mod cluster;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::namespace::Namespace;
use answers::router;
pub use cluster::Cluster;
pub use tls::Authority;

/// What the ServiceAccount's `token` holds.
const TOKEN: &str = "a-token-of-the-node-agent";

/// A running API server. Dropping it is an outage: every connection ends.
#[derive(Debug)]
pub struct ApiServer {
    cluster: Cluster,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Serves `cluster` on `address` of `node`'s network, with a certificate of `authority`.
    pub fn start(node: &Namespace, address: SocketAddr, authority: &Authority, cluster: &Cluster) -> Self {
        // A socket stays in the namespace in which it was made.
        let listener = node.run(move || TcpListener::bind(address).expect("a free address"));
        let (stop, stopped) = oneshot::channel();
        let (acceptor, router) = (authority.acceptor(address.ip()), router(cluster.clone()));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tls::Listener::new(listener, acceptor);
                tokio::select! {
                    _ = stopped => {}
                    ended = axum::serve(listener, router) => ended.expect("serving does not end"),
                }
            });
        });
        Self { cluster: cluster.clone(), stop: Some(stop), thread: Some(thread) }
    }

    /// What it serves.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Writes `token` and `ca.crt` as the kubelet mounts them.
pub fn write_service_account(folder: &Path, authority: &Authority) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("token"), TOKEN).expect("a token");
    std::fs::write(folder.join("ca.crt"), authority.certificate()).expect("a certificate");
}
