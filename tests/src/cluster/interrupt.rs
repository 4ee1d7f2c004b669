//! Ctrl-C, SIGTERM and SIGHUP: the run stops waiting, and everything it made is taken down as usual.
//!
//! Whatever the main thread may be waiting for at that moment is ended from here, so that its wait
//! fails, the error travels up and the owners of processes, cgroups and folders remove them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static WATCHED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts to listen for the three signals, on a thread of its own.
pub fn listen() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
        });
        request();
        // The handlers stay installed: a second Ctrl-C must not cut the cleaning short.
        runtime.block_on(std::future::pending::<()>());
    });
    Ok(())
}

/// Whether the run was asked to end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Fails once the run was asked to end.
pub fn check() -> anyhow::Result<()> {
    anyhow::ensure!(!requested(), "interrupted");
    Ok(())
}

/// Blocks until the run is asked to end.
pub fn wait() {
    while !requested() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// A child process that is killed when the run is asked to end, until this value is dropped. Drop it
/// before the process is reaped: its id may be given to another one after that.
#[derive(Debug)]
pub struct Watched(i32);

/// Watches `pid`, a child of this process.
pub fn watch(pid: Pid) -> Watched {
    let mut watched = WATCHED.lock().expect("no panic holds the watch list");
    watched.insert(pid.as_raw());
    if requested() {
        end(pid.as_raw());
    }
    Watched(pid.as_raw())
}

impl Drop for Watched {
    fn drop(&mut self) {
        WATCHED.lock().expect("no panic holds the watch list").remove(&self.0);
    }
}

fn request() {
    eprintln!("\ninterrupted: taking everything down");
    let watched = WATCHED.lock().expect("no panic holds the watch list");
    REQUESTED.store(true, Ordering::SeqCst);
    watched.iter().copied().for_each(end);
}

fn end(pid: i32) {
    // It may have ended by itself just now, which is as good.
    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
}
