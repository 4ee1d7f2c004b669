//! The lease store: one file per address, named after it, holding its owner as host-local writes it.
//!
//! A lease is whole or absent: it is written under a temporary name and gets its real one by `link(2)`,
//! which fails when the address is taken. The lock, host-local's own, is held only around finding and
//! writing, never while the kernel is asked for anything else. The folder lies on a tmpfs, where all
//! sandboxes end with the boot, so nothing is synced to a disk.
//!
//! Beside the leases lie host-local's `lock` and `last_reserved_ip.N`, and hidden files of ours that are
//! hints: without them everything is found out again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::cooling;
use super::shelf::{self, Folder, Recorded, Refusal, Want};
use crate::error::{self, Error};
use crate::failpoint;
use crate::file;
use crate::patience::aside;
use crate::record::attachment_hash;

pub(crate) use super::lease::Holder;
pub use super::lease::Owner;

/// How long a call waits for the lock before it asks the runtime to try again.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// Longest lease file read back, in bytes: a container id and an interface name, each at most 255.
const LONGEST: u64 = 1024;

/// The folder of one network.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// The folder while no other process changes leases in it.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    store: &'a Store,
    _lock: Flock<File>,
}

impl Store {
    /// The store in `folder`, which need not exist.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where the leases are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A name of the owner's own: what a killed process left is in nobody's way, and nobody else's.
    fn temporary(&self, owner: &Owner<'_>) -> PathBuf {
        self.folder.join(format!(".{}", attachment_hash(owner)))
    }

    /// Makes the folder where it is missing, and waits for its lock up to a deadline.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, Error> {
        let path = self.folder.join("lock");
        let file = open_lock(&path).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(Error::state("open lock", &path)(error));
            }
            make_folder(&self.folder).map_err(Error::state("create lease store", &self.folder))?;
            open_lock(&path).map_err(Error::state("open lock", &path))
        });
        self.wait_for(file?)
    }

    fn wait_for(&self, file: File) -> Result<Locked<'_>, Error> {
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((file, Errno::EAGAIN)) => self.queue_for(file)?,
            tried => tried.map_err(|(_, errno)| Error::state("lock", &self.folder)(errno.into()))?,
        };
        Ok(Locked { store: self, _lock: lock })
    }

    /// Lets the kernel wait, which serves whoever came first: with many calls at once, one that only tries
    /// now and then could miss its turn for ever.
    fn queue_for(&self, file: File) -> Result<Flock<File>, Error> {
        let failed = |error| match error {
            error if error::is(&error, Errno::ETIMEDOUT) => Error::LockHeld { store: self.folder.clone() },
            error => Error::state("lock", &self.folder)(error),
        };
        let lock = move || Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into());
        aside(LOCK_DEADLINE, lock).flatten().map_err(failed)
    }

    /// Releases `addresses` where they are `owner`'s; from `now` on they rest. Absence is success: the
    /// runtime may repeat DEL. Under the lock, or a second DEL could take the lease of whoever got the
    /// address in between.
    pub(crate) fn release(
        &self,
        addresses: &[IpAddr],
        owner: &Owner<'_>,
        now: Duration,
    ) -> Result<(), Error> {
        if addresses.is_empty() {
            return Ok(());
        }
        let path = self.folder.join("lock");
        let file = match open_lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(Error::state("open lock", &path))?,
        };
        let locked = self.wait_for(file)?;
        locked.release_where(addresses, now, |holder| holder.is_some_and(|holder| owner.is(holder)))
    }

    /// Releases whatever `owner` holds, and what an ADD of it left when it was killed.
    pub(crate) fn release_all(&self, owner: &Owner<'_>, now: Duration) -> Result<(), Error> {
        self.release(&self.held_by(owner)?, owner, now)?;
        remove(&self.temporary(owner))
    }

    /// Addresses held by `owner`, found by reading every lease. Only for attachments whose record is
    /// lost or incomplete. Leases of host-local's older format, which name no interface, count where there
    /// is none that does.
    pub(crate) fn held_by(&self, owner: &Owner<'_>) -> Result<Vec<IpAddr>, Error> {
        let of_owner = |(address, holder): (IpAddr, Option<Holder>)| {
            let holder = holder.filter(|holder| owner.is(holder))?;
            Some((address, holder.ifname.is_some()))
        };
        let (exact, older): (Vec<_>, Vec<_>) =
            self.leases()?.into_iter().filter_map(of_owner).partition(|(_, exact)| *exact);
        let held = if exact.is_empty() { older } else { exact };
        Ok(held.into_iter().map(|(address, _)| address).collect())
    }

    /// Addresses by who holds them, (container id, interface), where their leases name both.
    pub(crate) fn by_owner(&self) -> Result<BTreeMap<(String, String), Vec<IpAddr>>, Error> {
        let mut owners = BTreeMap::<_, Vec<IpAddr>>::new();
        for (address, holder) in self.leases()? {
            if let Some(Holder { container_id, ifname: Some(ifname) }) = holder {
                owners.entry((container_id, ifname)).or_default().push(address);
            }
        }
        Ok(owners)
    }

    /// Every lease and who has it; nobody where it is empty. What is no file is no lease.
    pub(crate) fn leases(&self) -> Result<Vec<(IpAddr, Option<Holder>)>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::state("list lease store", &self.folder))?,
        };
        let mut leases = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::state("list lease store", &self.folder))?;
            let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = entry.path();
            match read_lease(&path)? {
                None if !shelf::is_empty_file(&path) => {}
                holder => leases.push((address, holder)),
            }
        }
        Ok(leases)
    }

    /// Whether addresses could be reserved here: the folder can be made and written.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        make_folder(&self.folder).map_err(Error::state("create lease store", &self.folder))?;
        // One name for all, or each killed STATUS would leave a file for ever.
        let path = self.folder.join(".probe");
        failpoint::step("write probe")
            .and_then(|()| file::options().create(true).truncate(true).write(true).open(&path).map(drop))
            .map_err(Error::state("write", &path))?;
        remove(&path)
    }

    /// Whether `address` is `owner`'s.
    pub(crate) fn is_leased(&self, address: IpAddr, owner: &Owner<'_>) -> Result<bool, Error> {
        let holder = read_lease(&self.folder.join(address.to_string()))?;
        Ok(holder.is_some_and(|holder| owner.is(&holder)))
    }
}

impl Locked<'_> {
    /// Takes one address for each of `wants` for `owner`, or none at all.
    pub(crate) fn reserve(
        &self,
        wants: &[Want<'_>],
        owner: &Owner<'_>,
        recorded: &Recorded<'_>,
        now: Duration,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let lease = self.store.temporary(owner);
        Folder::open(&self.store.folder, lease, owner, recorded)?.take(wants, owner, now)
    }

    /// Releases those of `addresses` whose lease is as it should be `wanted`; from `now` on they rest.
    pub(crate) fn release_where(
        &self,
        addresses: &[IpAddr],
        now: Duration,
        wanted: impl Fn(Option<&Holder>) -> bool,
    ) -> Result<(), Error> {
        let folder = &self.store.folder;
        let mut leases = Vec::new();
        for address in addresses {
            let path = folder.join(address.to_string());
            match read_lease(&path)? {
                None if !shelf::is_empty_file(&path) => {}
                holder if wanted(holder.as_ref()) => leases.push((*address, path)),
                _ => {}
            }
        }
        // First into the queue: a kill in between leaves an entry too many there, not an address that the
        // hint calls taken for long.
        let released: Vec<IpAddr> = leases.iter().map(|(address, _)| *address).collect();
        if !released.is_empty() {
            cooling::release(folder, &released, now);
        }
        leases.iter().try_for_each(|(_, path)| remove(path))
    }
}

/// Who has the lease at `path`. None where there is no lease, or one that names nobody.
pub(super) fn read_lease(path: &Path) -> Result<Option<Holder>, Error> {
    let opened = file::options().read(true).open(path);
    let mut text = Vec::new();
    match opened.and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
        Ok(_) => Ok(Holder::parse(&text)),
        Err(error) if is_no_lease(&error) => Ok(None),
        Err(error) => Err(Error::state("read lease", path)(error)),
    }
}

/// Nothing there, a folder, a link, a socket.
fn is_no_lease(error: &io::Error) -> bool {
    [Errno::ENOENT, Errno::EISDIR, Errno::ELOOP, Errno::ENXIO]
        .iter()
        .any(|errno| crate::error::is(error, *errno))
}

fn open_lock(path: &Path) -> io::Result<File> {
    failpoint::step("open lease lock")?;
    file::options().create(true).truncate(false).write(true).open(path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    failpoint::step("create lease store")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match failpoint::step("remove lease").and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::state("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
