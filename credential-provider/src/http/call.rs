//! One request, and how patient its caller is.

use std::borrow::Cow;
use std::time::Duration;

use crate::secret::{Secret, SecretBytes};

use super::url::Url;

/// Time for one attempt, unless the call says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest body of an answer, in bytes, unless the call says otherwise. Tokens are a few thousand bytes.
const LARGEST: u64 = 64 * 1024;

/// One request, and how patient its caller is.
#[derive(Debug)]
pub struct Call {
    pub(super) step: &'static str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(Cow<'static, str>, Secret)>,
    pub(super) body: Option<SecretBytes>,
    pub(super) route: Route,
    pub(super) patience: Duration,
    pub(super) tries: u32,
    pub(super) largest: u64,
    pub(super) hint: Option<Cow<'static, str>>,
    pub(super) explain: fn(&[u8]) -> Option<String>,
    pub(super) retry: fn(u16, &[u8]) -> bool,
    pub(super) expect: fn(u16) -> bool,
    plain: bool,
}

/// What is done with the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a service of this node's own platform: never through a proxy, `http` allowed, and a refused
    /// connection is final, since there is no such service here.
    Metadata,
    /// Anywhere else.
    Internet,
}

impl Call {
    /// Reads `url`. The step's name stands in errors.
    pub fn get(step: &'static str, url: Url) -> Self {
        Self::new(step, Method::Get, url)
    }

    /// Sends a body to `url`.
    pub fn post(step: &'static str, url: Url, content_type: &'static str, body: SecretBytes) -> Self {
        let call = Self::new(step, Method::Post, url).header("content-type", content_type);
        Self { body: Some(body), ..call }
    }

    /// Sends an empty body to `url`.
    pub fn put(step: &'static str, url: Url) -> Self {
        Self::new(step, Method::Put, url)
    }

    fn new(step: &'static str, method: Method, url: Url) -> Self {
        Self {
            step,
            method,
            url,
            headers: Vec::new(),
            body: None,
            route: Route::Internet,
            patience: PATIENCE,
            tries: 1,
            largest: LARGEST,
            hint: None,
            explain: |_| None,
            retry: |_, _| false,
            expect: |status| (200..300).contains(&status),
            plain: false,
        }
    }

    /// Adds a header.
    pub fn header(self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.secret(name, Secret::new(value.into()))
    }

    /// Adds a header whose value is secret.
    pub fn secret(mut self, name: impl Into<Cow<'static, str>>, value: Secret) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Adds `Authorization: Bearer`.
    pub fn bearer(self, token: &Secret) -> Self {
        self.secret("authorization", Secret::new(format!("Bearer {}", token.expose())))
    }

    /// Makes it a call to a metadata service.
    pub fn metadata(self) -> Self {
        Self { route: Route::Metadata, ..self }
    }

    /// Time for one attempt, name resolution to the last byte of the answer; less where the run's deadline
    /// is nearer.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How often it is attempted, where a failure may pass.
    pub fn tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// Largest body of an answer, in bytes.
    pub fn largest(self, largest: u64) -> Self {
        Self { largest, ..self }
    }

    /// What the admin can do when it fails.
    pub fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Reads the machine code out of the body of a refusal.
    pub fn explain(self, explain: fn(&[u8]) -> Option<String>) -> Self {
        Self { explain, ..self }
    }

    /// Which refusals (status, body) may pass, besides 408, 429 and 5xx.
    pub fn retry(self, retry: fn(u16, &[u8]) -> bool) -> Self {
        Self { retry, ..self }
    }

    /// Which status codes are an answer rather than a failure, instead of 200 to 299. A redirect never is.
    pub fn expect(self, expect: fn(u16) -> bool) -> Self {
        Self { expect, ..self }
    }

    /// Allows `http` on the internet, where the admin has asked for it.
    pub fn allow_plain(self, plain: bool) -> Self {
        Self { plain, ..self }
    }

    /// Whether its secrets may leave this way: encrypted, to a metadata service (which speaks nothing else, and
    /// is a link-local address of the platform), within this node, or where the admin's configuration allows
    /// it.
    pub fn may_go(&self) -> bool {
        !self.url.is_plain() || self.route == Route::Metadata || self.url.is_loopback() || self.plain
    }
}

impl Method {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Url};
    use crate::secret::Secret;

    #[test]
    fn plain_http_goes_only_where_it_may() {
        let get = |url| Call::get("test", Url::parse(url).unwrap());
        assert!(!get("http://example.com").may_go());
        assert!(get("http://example.com").allow_plain(true).may_go());
        assert!(get("http://169.254.169.254").metadata().may_go());
        assert!(get("http://127.0.0.1:3000").may_go() && get("https://example.com").may_go());
    }

    #[test]
    fn no_header_is_printed() {
        let call = Call::get("test", Url::parse("https://a").unwrap()).bearer(&Secret::new("hunter2".into()));
        assert!(!format!("{call:?}").contains("hunter2"));
    }
}
