//! One at a time for each credential.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

/// Held until dropped, and by nobody whose process is gone: the kernel keeps it with the open file.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

impl Lock {
    /// None if another holds it.
    pub(super) fn try_take(file: File) -> Option<Self> {
        file.try_lock().is_ok().then_some(Self { _file: file })
    }

    /// None if another still holds it after `patience`, or the file cannot be locked. The kernel has no lock with
    /// a time limit, so it is tried again and again.
    pub(super) fn take(file: File, patience: Duration) -> Option<Self> {
        let until = Instant::now() + patience;
        let mut pause = PAUSES.0;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(_) => return None,
            }
        }
    }
}
