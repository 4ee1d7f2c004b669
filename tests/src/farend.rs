//! Far ends: stand-ins for the services of clouds and registries that issue credentials and that nobody can
//! run offline.
//!
//! Each refuses what the real one would refuse, with the error the real one has, so that a test which gets
//! a credential has proven that the right thing was sent. What a far end answers is a function of the
//! request, of its state and of the time; how well it does so is its [`Mood`], set at run time.

pub mod aws;
pub mod azure;
pub mod client;
mod connection;
pub mod exchange;
pub mod google;
pub mod jwt;
mod message;
mod mood;
pub mod moto;
pub mod oci;
pub mod realm;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::shutdown;
use tokio_rustls::rustls::ServerConfig;

use crate::apiserver::Authority;
pub use message::{Request, Response};
use mood::Moods;
pub use mood::{Mood, NOT_JSON, WRONG_JSON};

/// A service: what it answers, and how it says that it will not.
pub trait FarEnd: Send + Sync + 'static {
    /// The answer to a request that arrived at `moment`.
    fn answer(&self, request: &Request, moment: &Moment) -> Response;

    /// Too many requests.
    fn throttled(&self) -> Response {
        Response::json(429, &serde_json::json!({"error": "too_many_requests"})).header("Retry-After", "1")
    }

    /// Who asks may not have it.
    fn denied(&self) -> Response {
        Response::json(403, &serde_json::json!({"error": "access_denied"}))
    }
}

/// When a request is answered.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The far end's clock.
    pub now: SystemTime,
    /// Whether what it issues is past already.
    pub expired: bool,
}

impl Moment {
    /// The end of what is issued now and normally lives for `seconds`.
    pub fn expiry(&self, seconds: u64) -> SystemTime {
        if self.expired {
            self.now - Duration::from_secs(60)
        } else {
            self.now + Duration::from_secs(seconds)
        }
    }

    /// The same as seconds from now.
    pub fn remaining(&self, seconds: u64) -> i64 {
        if self.expired { -60 } else { seconds.cast_signed() }
    }
}

/// Seconds since 1970.
pub fn epoch(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// A request that a far end has received, whether or not it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request.
    pub request: Request,
    /// When it was complete.
    pub at: Instant,
}

/// A running far end; it stops, and hangs up on everybody, when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    far_end: Box<dyn FarEnd>,
    tls: Option<Arc<ServerConfig>>,
    moods: Mutex<Moods>,
    seen: Mutex<Vec<Seen>>,
    open: Mutex<Vec<TcpStream>>,
    clock: Mutex<i64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves on a free port of 127.0.0.1.
    pub fn start(far_end: impl FarEnd) -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), far_end)
    }

    /// Serves on `address` of the calling thread's network namespace.
    pub fn start_on(address: SocketAddr, far_end: impl FarEnd) -> Self {
        Self::listen(address, Box::new(far_end), None).expect("a free address")
    }

    /// Serves HTTPS on a free port of 127.0.0.1 with a certificate of `authority` for `names`, which are
    /// host names or IP addresses.
    pub fn start_tls(far_end: impl FarEnd, authority: &Authority, names: &[&str]) -> Self {
        let tls = authority.server_config(names);
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), Box::new(far_end), Some(tls)).expect("a free port")
    }

    /// The same on `address`.
    pub fn start_tls_on(
        address: SocketAddr,
        far_end: impl FarEnd,
        authority: &Authority,
        names: &[&str],
    ) -> Self {
        let tls = authority.server_config(names);
        Self::listen(address, Box::new(far_end), Some(tls)).expect("a free address")
    }

    fn listen(
        address: SocketAddr,
        far_end: Box<dyn FarEnd>,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            far_end,
            tls,
            moods: Mutex::default(),
            seen: Mutex::default(),
            open: Mutex::default(),
            clock: Mutex::default(),
        });
        let (incoming, served) = (listener.try_clone()?, Arc::clone(&shared));
        let acceptor = std::thread::spawn(move || accept(&incoming, &served));
        Ok(Self { address, listener, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`, or `https` where it serves that; no slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.shared.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Answers everything from now on in this mood.
    pub fn mood(&self, mood: Mood) {
        lock(&self.shared.moods).always = mood;
    }

    /// Answers the next `count` requests in this mood, before any other that is set.
    pub fn mood_for_next(&self, count: usize, mood: &Mood) {
        lock(&self.shared.moods).next.extend(std::iter::repeat_n(mood.clone(), count));
    }

    /// Answers requests whose method and path begin with `route`, as in `PUT /latest/api/`, in this mood.
    pub fn mood_of(&self, route: &str, mood: Mood) {
        lock(&self.shared.moods).routes.insert(0, (route.to_owned(), mood));
    }

    /// Moves its clock from ours by `seconds`.
    pub fn set_clock(&self, seconds: i64) {
        *lock(&self.shared.clock) = seconds;
    }

    /// All requests so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests had a method and path that begin with `route`.
    pub fn count(&self, route: &str) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.request.route().starts_with(route)).count()
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Accepting fails once the listener is shut down.
        let _stopped = shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        self.shared.hang_up();
        if let Some(acceptor) = self.acceptor.take() {
            let ended = acceptor.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a far end does not panic");
        }
    }
}

fn accept(incoming: &TcpListener, shared: &Shared) {
    std::thread::scope(|scope| {
        while let Ok((client, _)) = incoming.accept() {
            // Written in several pieces, which nobody shall wait for.
            drop(client.set_nodelay(true));
            if let Ok(copy) = client.try_clone() {
                lock(&shared.open).push(copy);
            }
            // A client that breaks off is none of the far end's business.
            scope.spawn(move || drop(connection::serve(&client, shared)));
        }
        // Whoever came between the drop and the last accept.
        shared.hang_up();
    });
}

impl Shared {
    fn hang_up(&self) {
        for client in lock(&self.open).drain(..) {
            drop(client.shutdown(Shutdown::Both));
        }
    }

    /// Notes the request and decides how it will be treated.
    fn receive(&self, request: &Request) -> (Mood, Moment) {
        lock(&self.seen).push(Seen { request: request.clone(), at: Instant::now() });
        let mood = lock(&self.moods).take(&request.route());
        let moment = Moment { now: self.now(), expired: mood == Mood::Expired };
        (mood, moment)
    }

    fn now(&self) -> SystemTime {
        let by = *lock(&self.clock);
        let distance = Duration::from_secs(by.unsigned_abs());
        if by < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
    }
}

/// A far end that takes whatever it is sent, as somebody who collects secrets does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collector;

impl FarEnd for Collector {
    fn answer(&self, _: &Request, _: &Moment) -> Response {
        let token =
            serde_json::json!({"token": "x", "access_token": "x", "refresh_token": "x", "expires_in": 3600});
        Response::json(200, &token)
    }
}
