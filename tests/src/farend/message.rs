//! Requests and responses of HTTP/1.1.

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Longest head and longest body that are read, in bytes.
const LONGEST: u64 = 64 << 10;

/// A request, as it was received or is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path without the query, as sent.
    pub path: String,
    /// What follows the `?`, as sent.
    pub query: String,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `200`.
    pub status: u16,
    /// Names and values, without those of the framing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body; `target` may have a query.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method: method.into(), path: path.into(), query: query.into(), ..Self::default() }
    }

    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` of a form.
    pub fn form(target: &str, fields: &[(&str, &str)]) -> Self {
        let pairs = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        let body = pairs.collect::<Vec<_>>().join("&").into_bytes();
        let post = Self { body, ..Self::new("POST", target) };
        post.with("Content-Type", "application/x-www-form-urlencoded")
    }

    /// A `POST` of a JSON document.
    pub fn json(target: &str, document: &Value) -> Self {
        let post = Self { body: document.to_string().into_bytes(), ..Self::new("POST", target) };
        post.with("Content-Type", "application/json")
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a user and a password.
    pub fn with_basic(self, user: &str, password: &str) -> Self {
        let packed = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.with("Authorization", &format!("Basic {packed}"))
    }

    /// `GET /path`.
    pub fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The value of a header that is there exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = &found.next()?.1;
        found.next().is_none().then_some(value)
    }

    /// Whether a header is there once, with this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.header(name) == Some(value)
    }

    /// The media type of the body, without parameters.
    pub fn media(&self) -> &str {
        self.header("Content-Type").and_then(|kind| kind.split(';').next()).unwrap_or_default().trim()
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("Authorization")?.strip_prefix("Bearer ")
    }

    /// User and password of `Authorization: Basic`.
    pub fn basic(&self) -> Option<(String, String)> {
        let packed = self.header("Authorization")?.strip_prefix("Basic ")?;
        let plain = String::from_utf8(BASE64_STANDARD.decode(packed).ok()?).ok()?;
        plain.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// A parameter of the query that is there exactly once.
    pub fn parameter(&self, name: &str) -> Option<String> {
        only(&self.query, name)
    }

    /// A field of the form in the body that is there exactly once; `None` where the body is no form.
    pub fn field(&self, name: &str) -> Option<String> {
        let body = std::str::from_utf8(&self.body).ok()?;
        (self.media() == "application/x-www-form-urlencoded").then(|| only(body, name)).flatten()
    }

    /// The JSON document in the body; null where there is none.
    pub fn document(&self) -> Value {
        if self.media() != "application/json" {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Reads a request; `None` where the client has ended instead.
    pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = stream.by_ref().take(LONGEST);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut request = match line.split_whitespace().collect::<Vec<_>>()[..] {
            [method, target, "HTTP/1.1"] => Self::new(method, target),
            _ => return Err(invalid("no request line")),
        };
        request.headers = read_headers(&mut head)?;
        request.body = read_body(stream, &request)?;
        Ok(Some(request))
    }
}

impl Response {
    /// An answer of this media type.
    pub fn new(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), media.into())], body: body.into() }
    }

    /// A JSON document.
    pub fn json(status: u16, document: &Value) -> Self {
        Self::new(status, "application/json", document.to_string())
    }

    /// Plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain", body)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The value of a header.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The JSON document in the body.
    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body_text()))
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn read_headers(head: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("a head without an end"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_body(stream: &mut impl BufRead, request: &Request) -> io::Result<Vec<u8>> {
    if request.header("Transfer-Encoding").is_some() {
        return Err(invalid("a body of unknown length"));
    }
    let length = request.header("Content-Length").map_or(Ok(0), str::parse::<u64>);
    let length = length.ok().filter(|length| *length <= LONGEST).ok_or_else(|| invalid("no length"))?;
    let mut body = vec![0; usize::try_from(length).expect("a short body")];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn only(pairs: &str, name: &str) -> Option<String> {
    let mut found = pairs.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(key)? == name).then(|| unescape(value)).flatten()
    });
    let value = found.next()?;
    found.next().is_none().then_some(value)
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
pub fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            _ => write!(escaped, "%{byte:02X}").expect("writing to a string succeeds"),
        }
        escaped
    })
}

/// Decodes what a form or a query has.
pub fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(plain).ok()
}
