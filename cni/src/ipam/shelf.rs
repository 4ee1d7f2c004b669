//! Taking addresses in a lease folder whose lock is held: the world behind [`search`].

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cooling::Queue;
use super::hint::{self, Hint};
use super::lease::{Holder, Owner};
use super::range::RangeSet;
use super::search::{self, Shelf};
use super::store::{read_lease, remove};
use crate::error::Error;
use crate::failpoint;
use crate::file;

/// One address of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    /// The set.
    pub set: &'a RangeSet,
    /// Which one; any when absent.
    pub address: Option<IpAddr>,
}

/// Why no address was taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Every address of the set with this index is taken.
    Full(usize),
    /// This address was asked for, and somebody has it.
    Taken(IpAddr, Option<Holder>),
    /// The folder could not be used.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Addresses that attachment records name, read when first needed; none where they cannot be read.
pub(crate) struct Recorded<'a> {
    read: &'a dyn Fn() -> Option<HashSet<IpAddr>>,
    known: OnceCell<Option<HashSet<IpAddr>>>,
}

impl<'a> Recorded<'a> {
    /// Addresses as `read` finds them.
    pub(crate) fn new(read: &'a dyn Fn() -> Option<HashSet<IpAddr>>) -> Self {
        Self { read, known: OnceCell::new() }
    }

    /// Whether a record names `address`, or may.
    pub(super) fn names(&self, address: IpAddr) -> bool {
        let known = self.known.get_or_init(self.read).as_ref();
        known.is_none_or(|known| known.contains(&address))
    }
}

/// The folder, with a lease that waits for its name.
pub(super) struct Folder<'a> {
    path: &'a Path,
    lease: PathBuf,
    recorded: &'a Recorded<'a>,
    queue: Option<Queue>,
}

impl<'a> Folder<'a> {
    /// Writes the lease of `owner` under the name `lease`, which is no address.
    pub(super) fn open(
        path: &'a Path,
        lease: PathBuf,
        owner: &Owner<'_>,
        recorded: &'a Recorded<'a>,
    ) -> Result<Self, Error> {
        // What a killed process left there may be a lease by another name, so it is never written into.
        let text = owner.render();
        let written = match write_new(&lease, text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(&lease)?;
                write_new(&lease, text.as_bytes())
            }
            written => written,
        };
        written.map_err(|error| {
            drop(fs::remove_file(&lease));
            Error::state("write lease", &lease)(error)
        })?;
        Ok(Self { path, lease, recorded, queue: Queue::open(path) })
    }

    /// Takes one address for each of `wants`, or none at all.
    pub(super) fn take(
        mut self,
        wants: &[Want<'_>],
        owner: &Owner<'_>,
        now: Duration,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let mut taken = Vec::with_capacity(wants.len());
        let done = self.take_all(wants, owner, now, &mut taken);
        let done = done.and(remove(&self.lease).map_err(Refusal::Failed));
        match done {
            Ok(()) => Ok(taken),
            Err(refusal) => {
                for address in taken {
                    remove(&self.path.join(address.to_string()))?;
                }
                Err(refusal)
            }
        }
    }

    fn take_all(
        &mut self,
        wants: &[Want<'_>],
        owner: &Owner<'_>,
        now: Duration,
        taken: &mut Vec<IpAddr>,
    ) -> Result<(), Refusal> {
        let mut hints: Vec<Hint> = wants.iter().map(|want| Hint::load(self.path, want.set)).collect();
        let rested = self.queue.as_mut().map(|queue| queue.expire(now)).unwrap_or_default();
        for address in &rested {
            wants.iter().zip(&mut hints).for_each(|(want, hint)| offer(want.set, hint, *address));
        }
        for (index, (want, hint)) in wants.iter().zip(&mut hints).enumerate() {
            match want.address {
                Some(address) => {
                    self.take_this(address, owner)?;
                    taken.push(address);
                    mark(want.set, hint, address);
                    hint.save(false);
                }
                None => taken.push(self.take_any(index, want.set, hint)?),
            }
        }
        // After the hints: a kill in between only repeats the work.
        if let Some(queue) = self.queue.take().filter(|_| !rested.is_empty()) {
            queue.save();
        }
        Ok(())
    }

    fn take_this(&mut self, address: IpAddr, owner: &Owner<'_>) -> Result<(), Refusal> {
        if self.claim(address)? {
            self.withdraw(address);
            return Ok(());
        }
        match read_lease(&self.path.join(address.to_string()))? {
            // Left by an attempt of which no record is left.
            Some(holder) if owner.is(&holder) => Ok(()),
            holder => Err(Refusal::Taken(address, holder)),
        }
    }

    /// The cursor is host-local's, so that either goes on where the other was.
    fn take_any(&mut self, index: usize, set: &RangeSet, hint: &mut Hint) -> Result<IpAddr, Refusal> {
        let cursor = Cursor::open(&self.path.join(format!("last_reserved_ip.{index}")));
        let after = cursor.as_ref().and_then(|cursor| cursor.after);
        let (address, replaced) = search::take_next(self, set, &mut hint.taken, after)?;
        hint.save(replaced);
        let address = address.ok_or(Refusal::Full(index))?;
        if replaced {
            self.withdraw(address);
        }
        if let Some(cursor) = cursor {
            cursor.advance(address);
        }
        Ok(address)
    }

    fn withdraw(&self, address: IpAddr) {
        if let Some(queue) = &self.queue {
            queue.withdraw(address);
        }
    }

    fn link(&self, path: &Path) -> Result<bool, Error> {
        match failpoint::step("link lease").and_then(|()| fs::hard_link(&self.lease, path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::state("reserve", path)(error)),
        }
    }

    /// Whether the file at `path` is nobody's lease. A power loss leaves files of host-local without
    /// content; so does a kill while it writes one. Nobody can be about to fill it, since that happens
    /// under the lock, and leases of ours are never empty. The sandbox of such a lease ended with the power,
    /// or never came to be; only one that a record of ours names may be alive, its lease damaged by hand.
    fn is_nobodys(&self, path: &Path, address: IpAddr) -> bool {
        is_empty_file(path) && !self.recorded.names(address)
    }
}

impl Shelf for Folder<'_> {
    type Error = Error;

    fn claim(&mut self, address: IpAddr) -> Result<bool, Error> {
        let path = self.path.join(address.to_string());
        if self.link(&path)? {
            return Ok(true);
        }
        if !self.is_nobodys(&path, address) {
            return Ok(false);
        }
        remove(&path)?;
        self.link(&path)
    }

    fn taken(&mut self) -> Result<Vec<IpAddr>, Error> {
        let failed = || Error::state("list lease store", self.path);
        let mut addresses = Vec::new();
        let mut hints = Vec::new();
        for entry in fs::read_dir(self.path).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(hint::PREFIX) {
                hints.push(entry.path());
            } else if let Ok(address) = name.parse()
                && !self.is_nobodys(&entry.path(), address)
            {
                addresses.push(address);
            }
        }
        if hints.len() > hint::MOST {
            hints.iter().for_each(|path| drop(fs::remove_file(path)));
        }
        Ok(addresses)
    }

    fn cooling(&mut self) -> Vec<IpAddr> {
        self.queue.as_ref().map(Queue::all).unwrap_or_default()
    }
}

/// Marks `address`, which has rested, as one to try.
fn offer(set: &RangeSet, hint: &mut Hint, address: IpAddr) {
    if let (Some(taken), Some(slot)) = (&mut hint.taken, set.slot_of(address))
        && set.gives(address)
    {
        taken.clear(slot);
    }
}

/// Marks `address`, which was asked for by name, as one not to try.
fn mark(set: &RangeSet, hint: &mut Hint, address: IpAddr) {
    if let (Some(taken), Some(slot)) = (&mut hint.taken, set.slot_of(address)) {
        taken.set(slot);
    }
}

/// What has a name of an address but is no file, a link or a folder, was put there by somebody.
pub(super) fn is_empty_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

/// Where the last search ended. Wrong or missing, the next one begins at the start of the range; the hint
/// knows what is taken.
struct Cursor {
    file: File,
    length: usize,
    after: Option<IpAddr>,
}

impl Cursor {
    fn open(path: &Path) -> Option<Self> {
        let open = || file::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = failpoint::step("open cursor hint").and_then(|()| open()).ok()?;
        let mut text = [0; 64];
        let length = file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).unwrap_or_default();
        Some(Self { after: text.trim().parse().ok(), file, length })
    }

    fn advance(&self, address: IpAddr) {
        let text = address.to_string();
        let step = || failpoint::step("write cursor hint");
        let mut written = step().and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
        if text.len() < self.length {
            let length = u64::try_from(text.len()).unwrap_or_default();
            written = written.and_then(|()| step()).and_then(|()| self.file.set_len(length));
        }
        // Only a place to begin at.
        drop(written);
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    failpoint::step("create lease")?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    failpoint::step("write lease")?;
    io::Write::write_all(&mut file, bytes)
}
