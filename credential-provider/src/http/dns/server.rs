//! Asking one name server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::step::Deadline;

use super::message::{Answer, Question};

/// Largest datagram that is read.
const LARGEST_DATAGRAM: usize = 4096;

/// How long the other family's answer is waited for, once one has brought addresses: some servers never say
/// that a name has no IPv6 address.
const SECOND_ANSWER: Duration = Duration::from_millis(300);

/// A question and its answer, once it is there.
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) answer: Option<Answer>,
}

/// Asks `server` all questions at once and notes its answers, until all are there or `deadline`.
pub(super) fn ask(server: SocketAddr, asked: &mut [Asked], deadline: Deadline) -> io::Result<()> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    // From now on the kernel drops what others send.
    socket.connect(server)?;
    for asked in asked.iter().filter(|asked| asked.answer.is_none()) {
        socket.send(&asked.question.bytes().unwrap_or_default())?;
    }
    receive(&socket, asked, deadline)?;
    for asked in asked.iter_mut().filter(|asked| asked.answer == Some(Answer::Truncated)) {
        asked.answer = None;
        asked.answer = ask_by_stream(server, &asked.question, deadline)?;
    }
    Ok(())
}

fn receive(socket: &UdpSocket, asked: &mut [Asked], mut deadline: Deadline) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    while asked.iter().any(|asked| asked.answer.is_none()) && !deadline.is_past() {
        socket.set_read_timeout(Some(deadline.left().max(Duration::from_millis(1))))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_timeout(&error) => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        note(asked, bytes);
        if asked.iter().any(Asked::has_address) {
            deadline = deadline.within(SECOND_ANSWER);
        }
    }
    Ok(())
}

/// Files `bytes` with the question that it answers, if there is one.
fn note(asked: &mut [Asked], bytes: &[u8]) {
    for asked in asked.iter_mut().filter(|asked| asked.answer.is_none()) {
        asked.answer = asked.question.read(bytes);
    }
}

/// Asks over TCP, where an answer may be as long as its two bytes of length can say (RFC 1035, 4.2.2).
fn ask_by_stream(server: SocketAddr, question: &Question, deadline: Deadline) -> io::Result<Option<Answer>> {
    let left = deadline.left();
    if left.is_zero() {
        return Ok(None);
    }
    let mut stream = TcpStream::connect_timeout(&server, left)?;
    let bytes = question.bytes().unwrap_or_default();
    let length = u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    stream.set_write_timeout(Some(left))?;
    stream.write_all(&[length.as_slice(), &bytes].concat())?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut answer, deadline)?;
    // Over TCP there is nothing left to be cut off for.
    Ok(question.read(&answer).filter(|answer| *answer != Answer::Truncated))
}

/// Fills `buffer`, however slowly its bytes come, but not beyond `deadline`.
fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Deadline) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = deadline.left();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => buffer = buffer.get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether nothing came in time. The kernel says EAGAIN when a socket's timeout ends a call.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Asked {
    pub(super) fn has_address(&self) -> bool {
        matches!(&self.answer, Some(Answer::Addresses(addresses)) if !addresses.is_empty())
    }
}
