//! A TCP connection that is never at rest, and what it noticed.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Longer than any machine is busy with something else; a packet that is lost costs a fifth of a second.
const STANDSTILL: Duration = Duration::from_secs(4);
/// After this nobody hopes any more.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
const QUESTION: usize = 16 * 1024;

/// Asks without end, and is answered with its own words.
#[derive(Debug)]
pub(super) struct Connection {
    what: String,
    stop: Arc<AtomicBool>,
    client: JoinHandle<anyhow::Result<Told>>,
    server: JoinHandle<()>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Told {
    what: String,
    bytes: usize,
    longest: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (megabytes, longest) = (self.bytes / 1_000_000, self.longest.as_millis());
        write!(f, "{}: {megabytes} MB each way, the longest answer took {longest} ms", self.what)
    }
}

pub(super) fn listen(address: &str) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind((address.parse::<IpAddr>()?, 0))?)
}

pub(super) fn open(place: SocketAddr) -> anyhow::Result<TcpStream> {
    TcpStream::connect_timeout(&place, STANDSTILL).with_context(|| place.to_string())
}

impl Connection {
    /// Takes the other end of `stream` from `listener`, and begins.
    pub(super) fn start(what: String, stream: TcpStream, listener: &TcpListener) -> anyhow::Result<Self> {
        let (other, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, told) =
            (Arc::clone(&stop), Told { what: what.clone(), bytes: 0, longest: Duration::ZERO });
        let client = std::thread::spawn(move || ask(stream, &stopped, told));
        Ok(Self { what, stop, client, server: std::thread::spawn(move || answer(other)) })
    }

    /// Ends it. Fails if it ended before, or stood still for too long.
    pub(super) fn end(self) -> anyhow::Result<Told> {
        self.stop.store(true, Ordering::SeqCst);
        let told = self.client.join().expect("no panic").with_context(|| self.what.clone())?;
        self.server.join().expect("no panic");
        anyhow::ensure!(told.longest < STANDSTILL && told.bytes > 0, "{told}");
        Ok(told)
    }
}

fn ask(mut stream: TcpStream, stop: &AtomicBool, mut told: Told) -> anyhow::Result<Told> {
    let (mut question, mut answer) = (vec![0; QUESTION], vec![0; QUESTION]);
    for number in (0..=u8::MAX).cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        question.fill(number);
        let begin = Instant::now();
        let after = |told: &Told| format!("after {} bytes each way", told.bytes);
        stream
            .write_all(&question)
            .and_then(|()| stream.read_exact(&mut answer))
            .with_context(|| after(&told))?;
        anyhow::ensure!(question == answer, "another answer {}", after(&told));
        told.longest = told.longest.max(begin.elapsed());
        told.bytes += QUESTION;
        std::thread::sleep(PAUSE);
    }
    Ok(told)
}

/// Until the other side is gone, which tells why.
fn answer(mut stream: TcpStream) {
    let mut bytes = vec![0; QUESTION];
    while let Ok(length) = stream.read(&mut bytes) {
        if length == 0 || stream.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
}
