use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use kube::Client;
use tokio::time::sleep;

use super::*;
use crate::mac::Mac;

fn claim(name: &str, protocol: u32) -> Disputed {
    let claim = Claim {
        node_uid: name.into(),
        addresses: Vec::new(),
        pod_cidrs: Vec::new(),
        vtep_mac: Mac::of_node(name),
        wireguard_key: None,
        protocol,
    };
    Disputed::from([(name.to_owned(), claim)])
}

/// The nodes of an API server that has none, and how often it was asked.
fn nodes() -> (Api<Node>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    let answers = Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { (StatusCode::NOT_FOUND, r#"{"kind":"Status","code":404,"reason":"NotFound"}"#) }
    });
    (Api::all(Client::new(answers, "default")), reads)
}

#[tokio::test]
async fn a_claim_that_changes_all_the_time_does_not_set_the_pace() {
    let (nodes, reads) = nodes();
    let (asking, asked) = watch::channel(Disputed::new());
    let (verdicts, decided) = watch::channel(Arc::default());
    let rewriting = async {
        for protocol in 0..100 {
            asking.send_replace(claim("n2", protocol));
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        never = follow(nodes, asked, verdicts) => match never {},
        () = rewriting => {}
    }
    let reads = reads.load(Ordering::Relaxed);
    assert!((2..=5).contains(&reads), "{reads} reads in 2 s");
    assert!(decided.borrow().contains_key("n2"));
}
