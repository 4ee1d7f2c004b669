//! Waiting for something that another process does: polled, with a deadline, never a bare sleep.

use std::time::{Duration, Instant};

use super::interrupt;

const PAUSE: Duration = Duration::from_millis(200);

/// Repeats `probe` until it succeeds and returns its value. After `limit` the error says what was
/// waited for and what the last attempt answered; an interruption ends the wait at once.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    eventually_while(what, limit, || Ok(()), probe)
}

/// As [`eventually`], but gives up as soon as `alive` fails: whoever should make it true has ended.
pub fn eventually_while<T>(
    what: &str,
    limit: Duration,
    alive: impl Fn() -> anyhow::Result<()>,
    mut probe: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        alive().map_err(|error| error.context(what.to_owned()))?;
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > limit => {
                return Err(error.context(format!("{what}: not within {limit:?}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Repeats `attempt` for cleaning up, which an interruption must not cut short.
pub fn retry<T>(limit: Duration, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < limit => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}
