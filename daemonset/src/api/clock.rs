//! How far this node's clock is from an API server's: tokens and certificates are good for a while by both. Every
//! answer has its time, so that none has to be asked for.

use axum::http::HeaderMap;
use axum::http::header::DATE;
use k8s_openapi::jiff::fmt::rfc2822;
use k8s_openapi::jiff::{SignedDuration, Timestamp, Unit};

use crate::observer::Observer;
use crate::status::Clock;

/// Notes what an answer of the API server at `address` says, whatever else is in it.
pub(super) fn note(observer: &Observer, address: &str, headers: &HeaderMap) {
    let now = Timestamp::now();
    let Some(offset_seconds) = date(headers).and_then(|date| offset(now, date)) else { return };
    // Kubernetes times have whole seconds.
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    observer.heard(|status| status.clock = Some(Clock { server: address.to_owned(), offset_seconds, at }));
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok().map(|date| date.timestamp())
}

/// How many seconds this node is ahead at `now`, where the answer's time, which has whole seconds, is `date`.
fn offset(now: Timestamp, date: Timestamp) -> Option<i64> {
    let theirs = date.checked_add(SignedDuration::from_millis(500)).ok()?;
    theirs.duration_until(now).round(Unit::Second).ok().map(|ahead| ahead.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_in_whole_seconds_as_the_answers_time_is() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Fri, 02 Jan 2026 12:00:00 GMT".parse().unwrap());
        let told = |now: &str| offset(now.parse().unwrap(), date(&headers).unwrap());
        for (now, ahead) in
            [("2026-01-02T12:00:00.9Z", 0), ("2026-01-02T12:01:40.6Z", 100), ("2026-01-02T11:58:59.6Z", -61)]
        {
            assert_eq!(told(now), Some(ahead), "{now}");
        }
        headers.insert(DATE, "noon".parse().unwrap());
        assert_eq!(date(&headers), None);
    }
}
