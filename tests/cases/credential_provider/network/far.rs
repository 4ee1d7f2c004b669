//! Far ends: small servers on a port of this machine, one thread each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server and what it was asked.
pub(super) struct Far {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Far {
    /// One that leaves each connection to `serve`, with the number of those before it.
    pub(super) fn serving(mut serve: impl FnMut(&mut TcpStream, usize) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                serve(&mut stream.expect("a connection"), number);
            }
        });
        Self { address, requests: Arc::default() }
    }

    /// One that reads each request, hands `serve` the connection, and closes it.
    pub(super) fn reading(mut serve: impl FnMut(&mut TcpStream, usize) + Send + 'static) -> Self {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&requests);
        let far = Self::serving(move |stream, number| {
            noted.lock().expect("the list").push(request(stream));
            serve(stream, number);
        });
        Self { requests, ..far }
    }

    /// One that answers with these, in turn, the last of them again and again.
    pub(super) fn answering(answers: &[&str]) -> Self {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        Self::reading(move |stream, number| {
            let answer = &answers[number.min(answers.len() - 1)];
            let _gone = stream.write_all(answer.as_bytes());
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the list").clone()
    }
}

/// Reads one request: its header, and a body if it announces one.
pub(super) fn request(stream: &mut impl Read) -> String {
    let mut bytes = header(stream);
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("the body");
    bytes.extend(body);
    String::from_utf8(bytes).expect("text")
}

/// Reads up to the empty line.
pub(super) fn header(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        bytes.push(byte[0]);
    }
    bytes
}
