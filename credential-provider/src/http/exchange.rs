//! One attempt at a call.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use ureq::{Agent, AsSendBody, Body, Error};

use crate::secret::SecretBytes;
use crate::step::{Peer, Problem, Stage};

use super::call::{Call, Method};
use super::proxy::Proxy;
use super::reply::Reply;
use super::{retry, tls, url::Url};

/// Why an attempt failed, and whether another one makes sense.
pub(super) struct Failure {
    pub(super) problem: Problem,
    /// Whether it may pass.
    pub(super) passing: bool,
    /// The pause that the far end asks for.
    pub(super) asked: Option<Duration>,
}

/// Sends `call` once and reads the answer, all within `time`.
pub(super) fn attempt(
    agent: &Agent,
    call: &Call,
    proxy: Option<&Proxy>,
    time: Duration,
) -> Result<Reply, Failure> {
    let peer = Peer::through(call.url.host_and_port(), proxy.map(|proxy| proxy.authority.clone()));
    let exchange = Exchange { call, peer, time };
    let response = exchange.send(agent, proxy)?;
    exchange.judge(response)
}

struct Exchange<'a> {
    call: &'a Call,
    peer: Peer,
    time: Duration,
}

impl Exchange<'_> {
    fn send(&self, agent: &Agent, proxy: Option<&Proxy>) -> Result<Response<Body>, Problem> {
        match (&self.call.body, self.call.method) {
            (Some(body), _) => self.run(agent, proxy, body.expose()),
            (None, Method::Get) => self.run(agent, proxy, ()),
            (None, Method::Post | Method::Put) => self.run(agent, proxy, [].as_slice()),
        }
    }

    fn run(
        &self,
        agent: &Agent,
        proxy: Option<&Proxy>,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, Problem> {
        let request = agent
            .configure_request(self.request(body)?)
            .proxy(proxy.map(|proxy| proxy.setting.clone()))
            .timeout_global(Some(self.time))
            .build();
        agent.run(request).map_err(|error| self.problem(error))
    }

    fn request<T>(&self, body: T) -> Result<Request<T>, Problem> {
        let invalid = || Problem::Request { reason: "a header holds a character that it must not" };
        let mut request = Request::builder()
            .method(self.call.method.as_str())
            .uri(self.call.url.to_string())
            .body(body)
            .ok()
            .ok_or(Problem::Request { reason: "the address cannot be asked" })?;
        for (name, value) in &self.call.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok().ok_or_else(invalid)?;
            let mut value = HeaderValue::from_str(value.expose()).ok().ok_or_else(invalid)?;
            value.set_sensitive(true);
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    /// What the answer is worth.
    fn judge(&self, response: Response<Body>) -> Result<Reply, Failure> {
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        if parts.status.is_redirection() {
            return Err(self.redirect(status, &parts.headers).into());
        }
        if (self.call.expect)(status) {
            return Ok(Reply { status, body: self.read(body)?, headers: parts.headers });
        }
        // That it refuses is the news; a body that cannot be read does not change it.
        let body = self.read(body).unwrap_or_else(|_| SecretBytes::new(Vec::new()));
        let passing = retry::is_passing(status) || (self.call.retry)(status, body.expose());
        let code = (self.call.explain)(body.expose()).filter(|code| is_code(code));
        let asked = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        Err(Failure {
            problem: Problem::Status { status, code, peer: self.peer.clone() },
            passing,
            asked: retry::asked(asked),
        })
    }

    fn redirect(&self, status: u16, headers: &HeaderMap) -> Problem {
        let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = match Url::parse(location) {
            Ok(url) => url.host_and_port(),
            Err(_) if location.starts_with('/') && !location.starts_with("//") => "itself".into(),
            Err(_) => "unreadable".into(),
        };
        Problem::Redirect { status, peer: self.peer.clone(), target }
    }

    fn read(&self, mut body: Body) -> Result<SecretBytes, Problem> {
        let limit = self.call.largest;
        let too_large = || Problem::TooLarge { peer: self.peer.clone(), part: "body", limit };
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        // Never grows, because what a growing buffer leaves behind is not wiped.
        let capacity = usize::try_from(limit + 1).ok().ok_or_else(too_large)?;
        let mut bytes = Vec::with_capacity(capacity);
        let read = body.as_reader().take(limit + 1).read_to_end(&mut bytes);
        let bytes = SecretBytes::new(bytes);
        read.map_err(|error| self.problem(Error::from(error)))?;
        if bytes.expose().len() >= capacity { Err(too_large()) } else { Ok(bytes) }
    }

    /// What the HTTP library says, with nothing in it that the far end or a secret could have a part in.
    fn problem(&self, error: Error) -> Problem {
        let peer = self.peer.clone();
        match error {
            Error::Other(inner) => match inner.downcast::<Problem>() {
                Ok(problem) => *problem,
                Err(_) => Problem::Garbage { peer, reason: "it cannot be read" },
            },
            Error::Timeout(_) => Problem::Timeout { stage: Stage::Answer, peer, after: self.time },
            Error::Io(error) => broken(&error, peer),
            Error::LargeResponseHeader(_, limit) => {
                Problem::TooLarge { peer, part: "header", limit: u64::try_from(limit).unwrap_or(u64::MAX) }
            }
            // The library says the status twice, with a slash in between.
            Error::ConnectProxyFailed(reason) => {
                Problem::Proxy { peer, reason: reason.split('/').next().unwrap_or_default().to_owned() }
            }
            Error::Http(_) | Error::BadUri(_) => Problem::Request { reason: "the address cannot be asked" },
            _ => Problem::Garbage { peer, reason: "it is not HTTP/1.1" },
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { passing: problem.is_passing(), problem, asked: None }
    }
}

fn broken(error: &io::Error, peer: Peer) -> Problem {
    match tls::cause(error) {
        Some(cause) => tls::tls_problem(cause, peer),
        None => Problem::Closed { peer },
    }
}

/// Whether a text from the far end is a machine code, and not a message that may repeat a token.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:#/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_code;

    #[test]
    fn only_codes_are_shown() {
        assert!(is_code("com.amazon.coral.service#AccessDeniedException") && is_code("invalid_grant"));
        assert!(!is_code("") && !is_code("the token hunter2 is bad") && !is_code(&"a".repeat(65)));
    }
}
