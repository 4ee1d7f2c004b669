//! One client's connection to a far end.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use super::{Mood, Request, Response, Shared};

/// What an answer without an end is made of.
static CHUNK: [u8; 64 << 10] = [b'a'; 64 << 10];

/// What to do after an answer.
type Next = io::Result<std::ops::ControlFlow<()>>;
const GO_ON: Next = Ok(std::ops::ControlFlow::Continue(()));
const HANG_UP: Next = Ok(std::ops::ControlFlow::Break(()));

/// Answers requests until one side has enough.
pub(super) fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let ended = match &shared.tls {
        None => converse(client, shared),
        Some(config) => {
            let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            converse(StreamOwned::new(tls, client), shared)
        }
    };
    // The server holds a copy of the socket, so that dropping this one ends nothing.
    client.shutdown(Shutdown::Both)?;
    ended
}

fn converse(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream)? {
        let closing = request.has("Connection", "close");
        if treat(stream.get_mut(), &request, shared)?.is_break() || closing {
            break;
        }
    }
    Ok(())
}

fn treat(stream: &mut (impl Read + Write), request: &Request, shared: &Shared) -> Next {
    let (mood, moment) = shared.receive(request);
    let answer = || shared.far_end.answer(request, &moment);
    match mood {
        Mood::Well | Mood::Expired => send(stream, &answer()),
        Mood::Throttled => send(stream, &shared.far_end.throttled()),
        Mood::Denied => send(stream, &shared.far_end.denied()),
        Mood::Failing(status) => send(stream, &Response::text(status, "there is a problem")),
        Mood::Garbage(text) => send(stream, &Response::json(200, &().into()).replaced(text)),
        Mood::Redirecting(to) => send(stream, &redirection(request, &to)),
        Mood::Slow(pause) => drip(stream, &answer(), pause),
        Mood::Late(pause) => {
            std::thread::sleep(pause);
            send(stream, &answer())
        }
        Mood::Silent => wait_for_end(stream),
        Mood::HungUp => HANG_UP,
        Mood::Truncated => break_off(stream, &answer()),
        Mood::Oversized => go_on_forever(stream),
    }
}

impl Response {
    fn replaced(self, body: &str) -> Self {
        Self { body: body.into(), ..self }
    }

    /// As it goes over the wire.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
        bytes.extend(&self.body);
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

fn redirection(request: &Request, to: &str) -> Response {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    Response::text(307, "").header("Location", &format!("{to}{}{query}", request.path))
}

fn send(stream: &mut impl Write, response: &Response) -> Next {
    stream.write_all(&response.bytes())?;
    stream.flush()?;
    GO_ON
}

fn drip(stream: &mut impl Write, response: &Response, pause: Duration) -> Next {
    for byte in response.bytes() {
        stream.write_all(&[byte])?;
        stream.flush()?;
        std::thread::sleep(pause);
    }
    GO_ON
}

fn break_off(stream: &mut impl Write, response: &Response) -> Next {
    let bytes = response.bytes();
    stream.write_all(&bytes[..bytes.len() - response.body.len().div_ceil(2)])?;
    stream.flush()?;
    HANG_UP
}

fn wait_for_end(stream: &mut impl Read) -> Next {
    while stream.read(&mut [0; 1024])? > 0 {}
    HANG_UP
}

fn go_on_forever(stream: &mut impl Write) -> Next {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")?;
    stream.write_all(b"Transfer-Encoding: chunked\r\n\r\na\r\n{\"token\":\"\r\n")?;
    loop {
        write!(stream, "{:x}\r\n", CHUNK.len())?;
        stream.write_all(&CHUNK)?;
        stream.write_all(b"\r\n")?;
    }
}
