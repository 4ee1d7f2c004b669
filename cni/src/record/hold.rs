//! The lock of an attachment: one call at a time works on it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::folder::in_folder;
use super::{Records, attachment_hash};
use crate::error::{self, Error};
use crate::failpoint;
use crate::file;
use crate::ipam::store::Owner;
use crate::patience::aside;

/// How long a call waits for another one of the same attachment to end.
const HOLD_DEADLINE: Duration = Duration::from_secs(5);

/// An attachment that no other call works on, until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Held {
    _file: Option<File>,
}

impl Records {
    /// Makes the folder and keeps `owner`'s attachment from every other call. A second ADD at the same
    /// time would take the first one for a killed one, and undo it.
    pub(crate) fn hold(&self, owner: &Owner<'_>) -> Result<Held, Error> {
        let path = self.lock_path();
        let opened = failpoint::step("open attachment lock")
            .and_then(|()| in_folder(&self.folder, || open_lock(&path, true)));
        lock(opened.map_err(Error::state("open lock", &path))?, owner, &path)
    }

    /// As [`Self::hold`], for a call that makes nothing: where no lock can be opened no ADD is at work.
    pub(crate) fn hold_to_undo(&self, owner: &Owner<'_>) -> Result<Held, Error> {
        let path = self.lock_path();
        match open_lock(&path, false) {
            Ok(file) => lock(file, owner, &path),
            Err(_no_lock) => Ok(Held { _file: None }),
        }
    }

    /// As [`Self::hold`], for who has time: nothing while a call is at work on the attachment.
    pub(crate) fn try_hold(&self, owner: &Owner<'_>) -> Result<Option<Held>, Error> {
        let path = self.lock_path();
        let file = open_lock(&path, true).map_err(Error::state("open lock", &path))?;
        let is_ours = try_lock(&file, owner).map_err(Error::state("lock", &path))?;
        Ok(is_ours.then_some(Held { _file: Some(file) }))
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }
}

fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    file::options().create(create).truncate(false).write(true).open(path)
}

/// One file serves all attachments: each has the byte at its hash, so none waits for another, and there
/// is no file to remove. The kernel lets go when the process ends, however it ends.
fn byte_of(owner: &Owner<'_>) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: i64::from_str_radix(&attachment_hash(owner), 16).unwrap_or_default(),
        l_len: 1,
        l_pid: 0,
    }
}

/// Whether nobody else has it.
fn try_lock(file: &File, owner: &Owner<'_>) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&byte_of(owner))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits in the kernel's queue until nobody else has it, up to a deadline.
fn lock(file: File, owner: &Owner<'_>, path: &Path) -> Result<Held, Error> {
    let failed = |error| match error {
        error if error::is(&error, Errno::ETIMEDOUT) => {
            Error::Busy { container_id: owner.container_id.to_owned(), ifname: owner.ifname.to_owned() }
        }
        error => Error::state("lock", path)(error),
    };
    if try_lock(&file, owner).map_err(failed)? {
        return Ok(Held { _file: Some(file) });
    }
    let byte = byte_of(owner);
    let wait = move || fcntl(&file, FcntlArg::F_OFD_SETLKW(&byte)).map(|_| file).map_err(io::Error::from);
    let file = aside(HOLD_DEADLINE, wait).flatten().map_err(failed)?;
    Ok(Held { _file: Some(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience;

    #[test]
    fn an_attachment_is_held_by_one_call_and_in_nobody_elses_way() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("attachments"));
        let (one, two) =
            (Owner { container_id: "c1", ifname: "eth0" }, Owner { container_id: "c1", ifname: "eth1" });
        drop(records.hold_to_undo(&one).unwrap());
        let held = records.hold(&one).unwrap();
        drop(records.hold(&two).unwrap());
        assert!(records.try_hold(&one).unwrap().is_none() && records.try_hold(&two).unwrap().is_some());
        let late = patience::to_the_end("DEL", 0, || records.hold_to_undo(&one));
        assert!(matches!(late, Err(Error::Deadline { .. })), "{late:?}");
        drop(held);
        drop(records.hold(&one).unwrap());
    }
}
