//! How far this node's clock is from an API server's: tokens and certificates are good for a while by both.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::Request;
use axum::http::header::DATE;
use k8s_openapi::jiff::fmt::rfc2822;
use k8s_openapi::jiff::{SignedDuration, Timestamp, Unit};
use kube::Client;
use kube::client::Body;
use tokio::time::{sleep, timeout};

use crate::observer::Observer;
use crate::status::Clock;

/// How often the API server is asked for its time.
const PERIOD: Duration = Duration::from_secs(300);
/// An answer that took longer says too little.
const SLOW: Duration = Duration::from_secs(5);

/// Tells `observer` for ever what the API server at `address` says.
pub(super) async fn follow(client: Client, address: &str, observer: &Observer) -> Infallible {
    loop {
        if let Some(clock) = look(&client, address).await {
            observer.heard(|status| status.clock = Some(clock));
        }
        sleep(PERIOD).await;
    }
}

/// Whatever it answers has a time, also a refusal.
async fn look(client: &Client, address: &str) -> Option<Clock> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let begin = Timestamp::now();
    let answer = timeout(SLOW, client.send(request)).await.ok()?.ok()?;
    let end = Timestamp::now();
    let date = rfc2822::parse(answer.headers().get(DATE)?.to_str().ok()?).ok()?;
    let offset = offset(begin, end, date.timestamp());
    // Kubernetes times have whole seconds.
    let at = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Some(Clock { server: address.to_owned(), offset_seconds: offset, at })
}

/// How many seconds this node is ahead, where it asked at `begin`, heard at `end`, and the answer's time, which
/// has whole seconds, is `date`.
fn offset(begin: Timestamp, end: Timestamp, date: Timestamp) -> i64 {
    let middle = begin.duration_until(end) / 2;
    let theirs = date + SignedDuration::from_millis(500);
    let ahead = theirs.duration_until(begin) + middle;
    ahead.round(Unit::Second).map_or(i64::MAX, |ahead| ahead.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_the_middle_between_question_and_answer() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let told = |begin, end, date| offset(at(begin), at(end), at(date));
        let noon = "2026-01-02T12:00:00Z";
        assert_eq!(told("2026-01-02T12:00:00.2Z", "2026-01-02T12:00:00.9Z", noon), 0);
        assert_eq!(told("2026-01-02T12:01:40.1Z", "2026-01-02T12:01:40.3Z", noon), 100);
        assert_eq!(told("2026-01-02T11:59:59Z", "2026-01-02T12:00:03Z", noon), 1);
        assert_eq!(told("2026-01-02T11:59:00Z", "2026-01-02T11:59:00Z", noon), -61);
    }
}
