//! When a call gives up: at its verb's deadline, or when the runtime sends SIGTERM.
//!
//! Nothing is interrupted: whoever asks the kernel for something, or waits, looks here first. Between two
//! looks the journal knows what there is to undo.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGTERM;

use crate::error::Error;

/// How long a SIGTERM goes unnoticed at most while a call waits.
const LOOK: Duration = Duration::from_millis(10);

thread_local! {
    static LIMIT: Cell<Option<Limit>> = const { Cell::new(None) };
}

/// What the work of this thread heeds.
#[derive(Clone, Copy, Debug)]
struct Limit {
    until: Instant,
    sigterm: bool,
    /// Why a look said that it is time to give up, once one did.
    reached: Option<Errno>,
}

impl Limit {
    fn look(self) -> Option<Errno> {
        if self.sigterm && told_to_end().is_some_and(|told| told.load(Ordering::Relaxed)) {
            return Some(Errno::EINTR);
        }
        (Instant::now() >= self.until).then_some(Errno::ETIMEDOUT)
    }
}

/// Gives up on `work` after `seconds`, or when the runtime sends SIGTERM.
pub(crate) fn within<T>(
    verb: &'static str,
    seconds: u64,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if told_to_end().is_none() {
        return Err(Error::kernel("listen for", "SIGTERM")(io::Error::last_os_error()));
    }
    limited(verb, seconds, true, work)
}

/// Gives up on `work` after `seconds` and not before: what undoes is not told to leave.
pub(crate) fn to_the_end<T>(
    verb: &'static str,
    seconds: u64,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    limited(verb, seconds, false, work)
}

fn limited<T>(
    verb: &'static str,
    seconds: u64,
    sigterm: bool,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let limit = Limit { until: Instant::now() + Duration::from_secs(seconds), sigterm, reached: None };
    let outer = LIMIT.replace(Some(limit));
    let done = work();
    let reached = LIMIT.replace(outer).and_then(|limit| limit.reached);
    // Whatever failed then failed because of that.
    done.map_err(|error| match reached {
        Some(Errno::EINTR) => Error::Interrupted { verb },
        Some(_) => Error::Deadline { verb, seconds },
        None => error,
    })
}

/// `EINTR` or `ETIMEDOUT` when it is time to give up.
pub(crate) fn check() -> io::Result<()> {
    let Some(limit) = LIMIT.get() else { return Ok(()) };
    let Some(reached) = limit.look() else { return Ok(()) };
    LIMIT.set(Some(Limit { reached: Some(reached), ..limit }));
    Err(reached.into())
}

/// Waits a moment.
pub(crate) fn pause(moment: Duration) -> io::Result<()> {
    thread::sleep(moment);
    check()
}

/// Does `work`, which may block for ever, on a thread of its own. `ETIMEDOUT` after `patience`; the thread
/// is left behind then, and with this process it ends.
pub(crate) fn aside<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let until = Instant::now() + patience;
    let (done, answer) = mpsc::sync_channel(1);
    // Nobody hears it any more when we have given up.
    thread::Builder::new().spawn(move || done.send(work()).unwrap_or_default())?;
    loop {
        match answer.recv_timeout(LOOK.min(until.saturating_duration_since(Instant::now()))) {
            Ok(value) => return Ok(value),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("its thread has ended"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() >= until => {
                return Err(Errno::ETIMEDOUT.into());
            }
            Err(mpsc::RecvTimeoutError::Timeout) => check()?,
        }
    }
}

/// Set by the handler of SIGTERM; nothing where none could be installed.
fn told_to_end() -> Option<&'static AtomicBool> {
    static TOLD: OnceLock<Option<Arc<AtomicBool>>> = OnceLock::new();
    let listen = || {
        let told = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, Arc::clone(&told)).ok().map(|_| told)
    };
    TOLD.get_or_init(listen).as_deref()
}
