//! AWS Signature Version 4, judged from the service's side.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use ring::hmac::{self, HMAC_SHA256};

use super::{Accounts, Key};
use crate::farend::Request;
use crate::farend::message::{escape, unescape};

/// How far a request's time may lie from the service's.
const TOLERANCE: Duration = Duration::from_mins(5);

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Missing,
    /// The header or a part of it is not as it must be.
    Incomplete(String),
    /// The key is not known, or its session token is not this one.
    UnknownKey,
    /// The key is past.
    ExpiredKey,
    /// The request is too old or too new.
    Skewed(String),
    /// The signature is another one.
    Mismatch(String),
}

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `20260102`.
    pub date: &'a str,
    /// `eu-west-1`.
    pub region: &'a str,
    /// `ecr`.
    pub service: &'a str,
}

/// The parts of an `Authorization` header.
struct Claim<'a> {
    key: &'a str,
    scope: Scope<'a>,
    headers: Vec<&'a str>,
    signature: &'a str,
}

/// The key that has signed `request` for `service` in `region`.
pub fn verify(
    request: &Request,
    accounts: &Accounts,
    (region, service): (&str, &str),
    now: SystemTime,
) -> Result<Key, Fault> {
    let header = request.header("Authorization").ok_or(Fault::Missing)?;
    let claim = parse(header)?;
    if (claim.scope.region, claim.scope.service) != (region, service) {
        return Err(Fault::Mismatch(format!("Credential should be scoped to {region}/{service}.")));
    }
    let key = accounts.key(claim.key).ok_or(Fault::UnknownKey)?;
    let token = request.header("X-Amz-Security-Token").map(str::to_owned);
    if key.token != token {
        return Err(Fault::UnknownKey);
    }
    check_headers(request, &claim.headers)?;
    let time = check_time(request, claim.scope, now)?;
    if signature(request, &claim.headers, &key.secret, time, claim.scope) != claim.signature {
        return Err(Fault::Mismatch("The request signature we calculated does not match.".into()));
    }
    if key.expires.is_some_and(|end| end <= now) {
        return Err(Fault::ExpiredKey);
    }
    Ok(key)
}

fn incomplete(what: &str) -> Fault {
    Fault::Incomplete(what.to_owned())
}

fn parse(header: &str) -> Result<Claim<'_>, Fault> {
    let list = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| incomplete("no AWS4-HMAC-SHA256"))?;
    let part = |name: &str| {
        let mut parts = list.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(|| incomplete(name))
    };
    let credential: Vec<_> = part("Credential")?.split('/').collect();
    let [key, date, region, service, "aws4_request"] = credential[..] else {
        return Err(incomplete("Credential"));
    };
    Ok(Claim {
        key,
        scope: Scope { date, region, service },
        headers: part("SignedHeaders")?.split(';').collect(),
        signature: part("Signature")?,
    })
}

/// The host and everything of Amazon's must be signed, in order, and be there.
fn check_headers(request: &Request, signed: &[&str]) -> Result<(), Fault> {
    let needed = |name: &str| name == "host" || name.starts_with("x-amz-");
    let mut sent = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    if let Some(name) = sent.find(|name| needed(name) && !signed.contains(&name.as_str())) {
        return Err(Fault::Mismatch(format!("'{name}' must be a 'SignedHeader'")));
    }
    if !signed.contains(&"host") || !signed.is_sorted() {
        return Err(Fault::Mismatch("'Host' must be a 'SignedHeader', and they must be sorted".into()));
    }
    match signed.iter().find(|name| request.header(name).is_none()) {
        Some(name) => Err(Fault::Mismatch(format!("'{name}' is signed and absent"))),
        None => Ok(()),
    }
}

fn check_time<'a>(request: &'a Request, scope: Scope<'_>, now: SystemTime) -> Result<&'a str, Fault> {
    let text = request.header("X-Amz-Date").ok_or_else(|| incomplete("X-Amz-Date"))?;
    let time = parse_time(text).ok_or_else(|| incomplete("X-Amz-Date"))?;
    if !text.starts_with(scope.date) {
        return Err(Fault::Mismatch("Date in Credential scope does not match YYYYMMDD".into()));
    }
    let distance = now.duration_since(time).unwrap_or_else(|before| before.duration());
    if distance > TOLERANCE {
        return Err(Fault::Skewed(format!("Signature expired or not yet current: {text}")));
    }
    Ok(text)
}

/// `20260102T030405Z` as a time.
fn parse_time(text: &str) -> Option<SystemTime> {
    let at = |from: usize, to: usize| text.get(from..to);
    let (date, time) = (at(0, 8)?, at(9, 15)?);
    let spelt = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let exact = text.len() == 16 && at(8, 9) == Some("T") && text.ends_with('Z');
    exact.then(|| humantime::parse_rfc3339(&spelt).ok()).flatten()
}

/// A time as `20260102T030405Z`.
pub fn format_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

/// The signature of `request` over `headers`, at `time`.
pub fn signature(request: &Request, headers: &[&str], secret: &str, time: &str, scope: Scope<'_>) -> String {
    let Scope { date, region, service } = scope;
    let canonical = canonical_request(request, headers);
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{region}/{service}/aws4_request\n{hash}");
    let steps = [date, region, service, "aws4_request", &text];
    let key = format!("AWS4{secret}").into_bytes();
    hex(&steps.iter().fold(key, |key, step| authenticate(&key, step)))
}

fn authenticate(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn canonical_request(request: &Request, signed: &[&str]) -> String {
    let path = request.path.split('/').map(escape).collect::<Vec<_>>().join("/");
    let headers = signed.iter().fold(String::new(), |mut all, name| {
        let value = request.header(name).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(all, "{name}:{value}").expect("writing to a string succeeds");
        all
    });
    let hash = hex(digest(&SHA256, &request.body).as_ref());
    let query = canonical_query(&request.query);
    format!("{}\n{path}\n{query}\n{headers}\n{}\n{hash}", request.method, signed.join(";"))
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let encoded = |text| escape(&unescape(text).unwrap_or_default());
            format!("{}={}", encoded(name), encoded(value))
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// Signs `request`, which must have its `Host` already, for tests of the services.
pub fn sign(request: Request, key: &Key, (region, service): (&str, &str), now: SystemTime) -> Request {
    let time = format_time(now);
    let mut request = request.with("X-Amz-Date", &time);
    if let Some(token) = &key.token {
        request = request.with("X-Amz-Security-Token", token);
    }
    let mut headers: Vec<_> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    headers.sort();
    let names: Vec<_> = headers.iter().map(String::as_str).collect();
    let scope = Scope { date: &time[..8], region, service };
    let signature = signature(&request, &names, &key.secret, &time, scope);
    let (id, date, names) = (&key.id, scope.date, names.join(";"));
    request.with(
        "Authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential={id}/{date}/{region}/{service}/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        ),
    )
}
