//! Keeping one resource registered with the kubelet.
//!
//! ```text
//! Idle → Bound → Registering → Live → Drain → Idle …
//! ```
//!
//! Each turn has a socket with a new name, serves before it registers (the kubelet calls back inside
//! Register), and ends only after its streams have: two registrations of one resource at a time make
//! kubelets up to 1.35 drop both.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::board::{Board, LIVE, Tally};
use crate::config::resource_name::ResourceName;
use crate::inventory::Snapshot;
use crate::reset::Resets;
use crate::service;
use crate::socket::{PluginDir, SocketIdentity};

mod announcement;
mod authority;
mod backoff;
mod cause;
mod line;
mod server;
mod watcher;

use announcement::announce;
use backoff::Backoff;
use cause::Cause;
use server::Server;

/// How long after Register a kubelet may take to open its stream.
const FIRST_STREAM: Duration = Duration::from_secs(10);
/// A registration that held this long was a good one: the next trouble starts with short waits again.
const STABLE: Duration = Duration::from_secs(5);
const FAR_FUTURE: Duration = Duration::from_secs(86_400);

/// How a kubelet learns of a device plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// It is told, by a call to its own socket.
    #[default]
    Classic,
    /// It finds our sockets itself, in the folder of its plugin watcher.
    Watcher,
}

/// What registrations of all resources share.
#[derive(Clone, Debug)]
pub struct Means {
    /// How the kubelet learns of us.
    pub way: Way,
    /// The kubelet's directory for sockets of our kind.
    pub dir: PluginDir,
    /// Says when to look at it again.
    pub directory: watch::Receiver<u64>,
    /// Where to tell how it goes.
    pub board: Board,
    /// Who is told who gets what.
    pub resets: Resets,
}

/// Keeps one resource registered; see [`Registration::run`].
#[derive(Debug)]
pub struct Registration {
    means: Means,
    tally: Tally,
    resource: ResourceName,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// When the next attempt may be made.
    not_before: Instant,
    /// The kubelet's socket at the last attempt.
    kubelet: Option<SocketIdentity>,
    /// The last failure that was logged, so that one that repeats is logged once.
    complaint: String,
}

/// Where a registration stands.
#[derive(Debug)]
enum State {
    /// Nothing is served.
    Idle,
    /// Calls are answered; the kubelet does not know of it.
    Bound(Server),
    /// The kubelet is being told.
    Registering(Server),
    /// The kubelet has been told: the one that listens on this socket, if it was told by it.
    Live(Server, Option<SocketIdentity>),
    /// Over, for this reason.
    Drain(Server, Cause),
    /// Nothing is served and nothing will be.
    Stopped,
}

impl Registration {
    /// Prepares to offer what `snapshots` hold by `means`.
    pub fn new(
        means: Means,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        stop: watch::Receiver<bool>,
    ) -> Registration {
        let resource = snapshots.borrow().resource().clone();
        let tally = means.board.begin(snapshots.clone());
        Registration {
            means,
            tally,
            resource,
            snapshots,
            stop,
            backoff: Backoff::new(),
            not_before: Instant::now(),
            kubelet: None,
            complaint: String::new(),
        }
    }

    /// The row that tells of it.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Runs until stopped; leaves no socket.
    pub async fn run(mut self) {
        let mut state = State::Idle;
        loop {
            tracing::debug!(resource = %self.resource, state = state.name(), "registration");
            self.tally.note(|row| row.state = state.name());
            state = match state {
                State::Idle => self.bind().await,
                State::Bound(server) => self.wait_out(server).await,
                State::Registering(server) => match self.means.way {
                    Way::Classic => self.register(server).await,
                    Way::Watcher => self.be_found(server).await,
                },
                State::Live(server, kubelet) => self.live(server, kubelet).await,
                State::Drain(server, cause) => self.drain(server, cause).await,
                State::Stopped => return self.tally.end(),
            };
        }
    }

    async fn bind(&mut self) -> State {
        if self.means.way == Way::Watcher {
            // A socket in the watcher's folder is found as soon as it is bound.
            while Instant::now() < self.not_before && !*self.stop.borrow() {
                self.wake(self.not_before).await;
            }
        }
        match Server::start(&self.means, self.snapshots.clone(), self.tally.clone()) {
            Ok(server) => State::Bound(server),
            Err(error) => {
                self.complain(format!(
                    "cannot bind a socket in {}: {error}",
                    self.means.dir.path().display()
                ));
                let until = Instant::now() + self.backoff.next();
                self.wake(until).await;
                if *self.stop.borrow() { State::Stopped } else { State::Idle }
            }
        }
    }

    /// Waits until an attempt makes sense: there is a kubelet, and it has not just failed us.
    async fn wait_out(&mut self, server: Server) -> State {
        loop {
            if *self.stop.borrow() {
                return State::Drain(server, Cause::Stopping);
            }
            if !server.endpoint.is_present() {
                return State::Drain(server, Cause::SocketGone);
            }
            if self.means.way == Way::Watcher {
                return State::Registering(server);
            }
            let kubelet = self.means.dir.kubelet();
            if kubelet.is_some() && kubelet != self.kubelet {
                self.kubelet = kubelet;
                self.backoff.reset();
                self.not_before = Instant::now();
            }
            let until = match kubelet {
                Some(_) => self.not_before,
                None => {
                    self.complain(format!(
                        "waiting for the kubelet: there is no {}",
                        self.means.dir.kubelet_socket()
                    ));
                    Instant::now() + FAR_FUTURE
                }
            };
            if until <= Instant::now() {
                return State::Registering(server);
            }
            self.wake(until).await;
        }
    }

    async fn register(&mut self, server: Server) -> State {
        let Some(kubelet) = self.means.dir.kubelet() else { return State::Bound(server) };
        let began = Instant::now();
        let options = service::options(&self.snapshots.borrow());
        let endpoint = server.endpoint.name().to_owned();
        let attempt = announce(self.means.dir.kubelet_socket(), endpoint, &self.resource, options);
        let answer = tokio::select! {
            answer = attempt => answer,
            _ = self.stop.wait_for(|stop| *stop) => return State::Drain(server, Cause::Stopping),
        };
        match answer {
            Ok(()) => {
                self.registered(&server, began);
                State::Live(server, Some(kubelet))
            }
            Err(error) => {
                self.complain(crate::error::chain(&error));
                self.not_before = Instant::now() + self.backoff.next();
                State::Bound(server)
            }
        }
    }

    /// Waits until a plugin watcher has found the socket, asked what it is, and taken it.
    async fn be_found(&mut self, server: Server) -> State {
        let began = Instant::now();
        let (mut verdict, mut streams) = (server.verdict.clone(), server.streams.clone());
        let cause = loop {
            if *self.stop.borrow() {
                break Cause::Stopping;
            }
            if !server.endpoint.is_present() {
                break Cause::SocketGone;
            }
            let said = verdict.borrow_and_update().clone();
            match said {
                Some(Ok(())) => {
                    self.registered(&server, began);
                    return State::Live(server, None);
                }
                // It asks again by itself.
                Some(Err(reason)) => self.complain(format!("the kubelet refuses: {reason}")),
                None => {}
            }
            if streams.borrow_and_update().first_is_over {
                break Cause::StreamLost;
            }
            let changed = tokio::select! {
                () = self.wake(Instant::now() + FAR_FUTURE) => Ok(()),
                changed = verdict.changed() => changed,
                changed = streams.changed() => changed,
            };
            if changed.is_err() {
                break Cause::ServingEnded;
            }
        };
        self.settle_account(began.elapsed());
        State::Drain(server, cause)
    }

    fn registered(&mut self, server: &Server, began: Instant) {
        self.complaint.clear();
        self.tally.note(|row| row.registrations += 1);
        let socket = server.endpoint.name();
        tracing::info!(resource = %self.resource, socket, took = ?began.elapsed(), "registered");
    }

    async fn live(&mut self, server: Server, kubelet: Option<SocketIdentity>) -> State {
        let began = Instant::now();
        let mut streams = server.streams.clone();
        let cause = loop {
            if *self.stop.borrow() {
                break Cause::Stopping;
            }
            // A missing kubelet.sock alone means nothing: the kubelet's stream tells whether it lives.
            let now = self.means.dir.kubelet();
            if kubelet.is_some() && now.is_some() && now != kubelet {
                break Cause::KubeletRestarted;
            }
            if !server.endpoint.is_present() {
                break Cause::SocketGone;
            }
            let seen = *streams.borrow_and_update();
            self.tally.note(|row| row.streams = seen.open);
            if seen.first_is_over {
                break Cause::StreamLost;
            }
            if seen.opened == 0 && began.elapsed() >= FIRST_STREAM {
                break Cause::NoStream;
            }
            let until = if seen.opened == 0 { began + FIRST_STREAM } else { Instant::now() + FAR_FUTURE };
            tokio::select! {
                () = self.wake(until) => {}
                changed = streams.changed() => if changed.is_err() { break Cause::ServingEnded },
            }
        };
        self.settle_account(began.elapsed());
        State::Drain(server, cause)
    }

    /// A short life counts as a failed attempt: two plugins that fight for one name must not do so at
    /// full speed.
    fn settle_account(&mut self, lived: Duration) {
        if lived >= STABLE {
            self.backoff.reset();
            self.not_before = Instant::now();
        } else {
            self.not_before = Instant::now() + self.backoff.next();
        }
    }

    async fn drain(&mut self, server: Server, cause: Cause) -> State {
        tracing::info!(resource = %self.resource, socket = server.endpoint.name(), %cause, "closing the socket");
        server.stop().await;
        self.tally.note(|row| row.streams = 0);
        if cause == Cause::Stopping { State::Stopped } else { State::Idle }
    }

    /// Waits for `until`, a change in the directory, or the order to stop, whichever comes first.
    async fn wake(&mut self, until: Instant) {
        tokio::select! {
            () = sleep_until(until) => {}
            // The watch lives as long as this receiver, so an error cannot come.
            _ = self.means.directory.changed() => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }

    fn complain(&mut self, complaint: String) {
        if complaint != self.complaint {
            tracing::warn!(resource = %self.resource, "not registered: {complaint}");
            self.tally.note(|row| row.last_error = Some((complaint.clone(), SystemTime::now())));
            self.complaint = complaint;
        }
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Bound(_) => "bound",
            State::Registering(_) => "registering",
            State::Live(..) => LIVE,
            State::Drain(..) => "drain",
            State::Stopped => "stopped",
        }
    }
}
