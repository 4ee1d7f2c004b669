//! A client's connection on which the `:authority` of requests is a percent-encoded path, as grpc-go sends
//! it to a bare path. No Rust client would: it asks for an authority whose code is as long, which is
//! exchanged on the way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// HPACK's index of `:authority`, in a literal field that is added to the table.
const FIELD: u8 = 0x41;
/// `a` has the shortest code that there is.
const CODE_OF_A: [bool; 5] = [false, false, false, true, true];

/// Exchanges one text for another in what is written.
#[derive(Debug)]
pub(super) struct Disguise {
    stream: UnixStream,
    from: Vec<u8>,
    to: Vec<u8>,
    /// Written and not flushed: a frame is never flushed in parts.
    held: Vec<u8>,
}

impl Disguise {
    /// Shows `path` on `stream` to a client that asks for [`authority`] of it.
    pub(super) fn new(stream: UnixStream, path: &str) -> Disguise {
        let path = encoded(path);
        let to = [&[FIELD], &length(0, path.len())[..], path.as_bytes()].concat();
        let code = coded(letters(&path));
        let from = [&[FIELD], &length(0x80, code.len())[..], &code].concat();
        Disguise { stream, from, to, held: Vec::new() }
    }
}

/// The authority to ask for in order to be disguised by `path`.
pub(super) fn authority(path: &str) -> String {
    "a".repeat(letters(&encoded(path)))
}

fn encoded(path: &str) -> String {
    path.replace('/', "%2F")
}

/// How many letters `a` take as many bytes when coded.
fn letters(path: &str) -> usize {
    path.len() * 8 / CODE_OF_A.len()
}

fn coded(letters: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = CODE_OF_A.repeat(letters);
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
}

fn length(flag: u8, length: usize) -> Vec<u8> {
    match u8::try_from(length).expect("a short path") {
        short @ 0..127 => vec![flag | short],
        long => vec![flag | 127, long - 127],
    }
}

impl AsyncRead for Disguise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Disguise {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let found = this.held.windows(this.from.len()).position(|window| window == this.from);
        if let Some(at) = found {
            this.held.splice(at..at + this.from.len(), this.to.iter().copied());
        }
        while !this.held.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, &this.held))?;
            this.held.drain(..written);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
