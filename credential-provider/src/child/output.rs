//! What a program prints, read as it comes and without ever waiting for the pipe's end: whoever inherited stdout may
//! keep it open for longer than the program lives.

use std::io::{self, Read};
use std::process::{Child, ChildStdout};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use secrecy::zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// Most that is read of what a program prints, in bytes.
pub(super) const LARGEST: usize = 1 << 20;
/// Room for an answer of the usual size, which then lies in one place only.
const USUAL: usize = 16 << 10;

/// A program's stdout, and what came out of it so far.
pub(super) struct Output {
    pipe: Option<ChildStdout>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Output {
    pub(super) fn of(child: &mut Child) -> io::Result<Self> {
        let pipe = child.stdout.take();
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { pipe, bytes: Zeroizing::new(Vec::with_capacity(USUAL)) })
    }

    /// Takes what is there now; false if that is more than [`LARGEST`] in all.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(true) };
        let room = (LARGEST + 1).saturating_sub(self.bytes.len());
        let mut rest = pipe.take(u64::try_from(room).unwrap_or(u64::MAX));
        match rest.read_to_end(&mut self.bytes) {
            Ok(_) => self.pipe = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(self.bytes.len() <= LARGEST)
    }

    pub(super) fn into_bytes(mut self) -> SecretBytes {
        SecretBytes::new(std::mem::take(&mut *self.bytes))
    }
}
