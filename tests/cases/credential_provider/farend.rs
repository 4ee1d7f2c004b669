//! The far ends themselves: a good exchange is accepted, each wrong thing refused.

mod aws;
mod azure;
mod exchange;
mod google;
mod moods;
mod moto;
mod oci;
mod realm;

use std::time::{Duration, SystemTime};

use tripod_tests::farend::client::ask;
use tripod_tests::farend::{Request, Response, Server};

const ROLE: &str = "arn:aws:iam::111122223333:role/puller";

/// The answer to a request that must have one.
fn answer(server: &Server, request: &Request) -> Response {
    ask(server, request).unwrap_or_else(|error| panic!("{error} in answer to {request:?}"))
}

/// Whether the answer has this status and this word in its body.
fn assert_refused(response: &Response, status: u16, word: &str) {
    let body = response.body_text();
    assert!(response.status == status && body.contains(word), "no {status} {word}: {response:?} {body}");
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

/// The same request with another value of a header, or without it.
fn altered(request: &Request, name: &str, value: Option<&str>) -> Request {
    let mut request = request.clone();
    request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    match value {
        Some(value) => request.with(name, value),
        None => request,
    }
}
