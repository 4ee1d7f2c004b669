//! The lock of an attachment: one call at a time works on it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tokio::time::{Instant, sleep};

use super::{Records, attachment_hash, make_folder};
use crate::error::Error;
use crate::failpoint;
use crate::ipam::store::Owner;

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
    pub(crate) async fn hold(&self, owner: &Owner<'_>) -> Result<Held, Error> {
        make_folder(&self.folder)
            .map_err(Error::state("create the folder of attachment records", &self.folder))?;
        let path = self.lock_path();
        let opened = failpoint::step("open attachment lock").and_then(|()| open_lock(&path, true));
        lock(opened.map_err(Error::state("open lock", &path))?, owner).await
    }

    /// As [`Self::hold`], for a call that makes nothing: where no lock can be opened no ADD is at work.
    pub(crate) async fn hold_to_undo(&self, owner: &Owner<'_>) -> Result<Held, Error> {
        match open_lock(&self.lock_path(), false) {
            Ok(file) => lock(file, owner).await,
            Err(_no_lock) => Ok(Held { _file: None }),
        }
    }

    /// As [`Self::hold`], for who has time: nothing while a call is at work on the attachment.
    pub(crate) fn try_hold(&self, owner: &Owner<'_>) -> Result<Option<Held>, Error> {
        let path = self.lock_path();
        let file = open_lock(&path, true).map_err(Error::state("open lock", &path))?;
        match try_lock(&file, owner) {
            Ok(_) => Ok(Some(Held { _file: Some(file) })),
            Err(errno) if is_at_work(errno) => Ok(None),
            Err(errno) => Err(Error::state("lock", &path)(errno.into())),
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }
}

fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    File::options().create(create).truncate(false).write(true).mode(0o600).open(path)
}

/// One file serves all attachments: each has the byte at its hash, so none waits for another, and there
/// is no file to remove. The kernel lets go when the process ends, however it ends.
fn try_lock(file: &File, owner: &Owner<'_>) -> nix::Result<libc::c_int> {
    let byte = libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: i64::from_str_radix(&attachment_hash(owner), 16).unwrap_or_default(),
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte))
}

/// Whether the kernel answered that somebody else has the lock, or asked for patience.
fn is_at_work(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EACCES | Errno::EINTR)
}

/// Waits until nobody else has the lock, up to a deadline.
async fn lock(file: File, owner: &Owner<'_>) -> Result<Held, Error> {
    let deadline = Instant::now() + HOLD_DEADLINE;
    let mut pause = Duration::from_micros(50);
    loop {
        match try_lock(&file, owner) {
            Ok(_) => return Ok(Held { _file: Some(file) }),
            Err(errno) if is_at_work(errno) && Instant::now() < deadline => {}
            Err(_) => {
                let (container_id, ifname) = (owner.container_id.to_owned(), owner.ifname.to_owned());
                return Err(Error::Busy { container_id, ifname });
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attachment_is_held_by_one_call_and_in_nobody_elses_way() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("attachments"));
        let (one, two) =
            (Owner { container_id: "c1", ifname: "eth0" }, Owner { container_id: "c1", ifname: "eth1" });
        drop(records.hold_to_undo(&one).await.unwrap());
        let held = records.hold(&one).await.unwrap();
        drop(records.hold(&two).await.unwrap());
        assert!(records.try_hold(&one).unwrap().is_none() && records.try_hold(&two).unwrap().is_some());
        tokio::time::timeout(Duration::from_millis(20), records.hold_to_undo(&one)).await.unwrap_err();
        drop(held);
        drop(records.hold(&one).await.unwrap());
    }
}
