//! The lease store: one file per address, named after it, holding its owner as host-local writes it
//! (`containerID CRLF ifname`).
//!
//! A lease is whole or absent: it is written under a temporary name and gets its real one by `link(2)`,
//! which fails when the address is taken. The lock only keeps two processes from trying the same
//! candidates; it is never held while the kernel is asked for anything else. The folder lies on a
//! tmpfs, where all sandboxes end with the boot, so nothing is synced to a disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::failpoint;
use crate::ipam::range::RangeSet;
use crate::record::attachment_hash;

/// How long an ADD waits for the lock before it asks the runtime to try again.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// Longest lease file read back, in bytes: a container id and an interface name, each at most 255.
const LONGEST: u64 = 1024;

/// Whom a lease belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_IFNAME`.
    pub ifname: &'a str,
}

/// The folder of one network.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// The folder while no other process reserves addresses in it.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    store: &'a Store,
    _lock: Flock<File>,
}

impl Owner<'_> {
    fn render(&self) -> String {
        format!("{}\r\n{}", self.container_id, self.ifname)
    }
}

impl Store {
    /// The store in `folder`, which need not exist.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes the folder and waits for its lock, up to a deadline.
    pub(crate) async fn lock(&self) -> Result<Locked<'_>, Error> {
        make_folder(&self.folder).map_err(Error::state("create lease store", &self.folder))?;
        let path = self.folder.join("lock");
        let open = || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let mut file = failpoint::step("open lease lock")
            .and_then(|()| open())
            .map_err(Error::state("open lock", &path))?;
        let deadline = Instant::now() + LOCK_DEADLINE;
        let mut pause = Duration::from_micros(50);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Locked { store: self, _lock: lock }),
                Err((back, Errno::EAGAIN | Errno::EINTR)) if Instant::now() < deadline => file = back,
                Err((_, Errno::EAGAIN)) => return Err(Error::LockHeld { store: self.folder.clone() }),
                Err((_, errno)) => return Err(Error::state("lock", &path)(errno.into())),
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// Releases `addresses` where they are `owner`'s. Absence is success: the runtime may repeat DEL.
    pub(crate) fn release(&self, addresses: &[IpAddr], owner: &Owner<'_>) -> Result<(), Error> {
        for address in addresses {
            let path = self.folder.join(address.to_string());
            if self.owns(&path, owner)? {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Releases whatever `owner` holds, and what an ADD of it left when it was killed.
    pub(crate) fn release_all(&self, owner: &Owner<'_>) -> Result<(), Error> {
        self.release(&self.held_by(owner)?, owner)?;
        remove(&self.temporary(owner))
    }

    /// A name of the owner's own: what a killed process left is in nobody's way, and nobody else's.
    fn temporary(&self, owner: &Owner<'_>) -> PathBuf {
        self.folder.join(format!(".{}", attachment_hash(owner)))
    }

    /// Everybody who holds an address, as (container id, interface), found by reading every lease.
    pub(crate) fn owners(&self) -> Result<Vec<(String, String)>, Error> {
        let mut owners = Vec::new();
        for path in self.leases()? {
            let text = match crate::record::read_bounded(&path, LONGEST) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.map_err(Error::state("read lease", &path))?,
            };
            let text = String::from_utf8_lossy(&text);
            if let Some((container_id, ifname)) = text.split_once("\r\n") {
                owners.push((container_id.to_owned(), ifname.to_owned()));
            }
        }
        owners.sort();
        owners.dedup();
        Ok(owners)
    }

    /// Addresses held by `owner`, found by reading every lease. Only for attachments whose record is
    /// lost or incomplete.
    pub(crate) fn held_by(&self, owner: &Owner<'_>) -> Result<Vec<IpAddr>, Error> {
        let mut addresses = Vec::new();
        for path in self.leases()? {
            if self.owns(&path, owner)? {
                addresses.extend(address_of(&path));
            }
        }
        Ok(addresses)
    }

    /// The files that are named after an address.
    fn leases(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::state("list lease store", &self.folder))?,
        };
        let mut leases = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::state("list lease store", &self.folder))?.path();
            if address_of(&path).is_some() {
                leases.push(path);
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
            .and_then(|()| fs::write(&path, b""))
            .map_err(Error::state("write", &path))?;
        remove(&path)
    }

    /// Whether `address` is `owner`'s.
    pub(crate) fn is_leased(&self, address: IpAddr, owner: &Owner<'_>) -> Result<bool, Error> {
        self.owns(&self.folder.join(address.to_string()), owner)
    }

    fn owns(&self, path: &Path, owner: &Owner<'_>) -> Result<bool, Error> {
        match crate::record::read_bounded(path, LONGEST) {
            Ok(text) => Ok(text == owner.render().as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::state("read lease", path)(error)),
        }
    }
}

impl Locked<'_> {
    /// Takes the next free address of `set`, the store's set number `index`, for `owner`. `None` when
    /// every one is taken.
    pub(crate) fn reserve(
        &self,
        index: usize,
        set: &RangeSet,
        owner: &Owner<'_>,
    ) -> Result<Option<IpAddr>, Error> {
        let folder = &self.store.folder;
        let temporary = self.store.temporary(owner);
        let last = folder.join(format!("last_reserved_ip.{index}"));
        remove(&temporary)?;
        let written = write_new(&temporary, owner.render().as_bytes());
        let taken = written
            .map_err(Error::state("write lease", &temporary))
            .and_then(|()| self.link_first_free(&temporary, set, read_address(&last)));
        remove(&temporary)?;
        if let Ok(Some(address)) = &taken {
            failpoint::step("write lease hint")
                .and_then(|()| fs::write(&last, address.to_string()))
                .map_err(Error::state("write", &last))?;
        }
        taken
    }

    fn link_first_free(
        &self,
        lease: &Path,
        set: &RangeSet,
        after: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, Error> {
        for address in set.candidates(after) {
            let path = self.store.folder.join(address.to_string());
            match failpoint::step("link lease").and_then(|()| fs::hard_link(lease, &path)) {
                Ok(()) => return Ok(Some(address)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::state("reserve", &path)(error)),
            }
        }
        Ok(None)
    }
}

fn address_of(lease: &Path) -> Option<IpAddr> {
    lease.file_name()?.to_str()?.parse().ok()
}

/// The hint where to begin. Wrong or missing, the search begins at the start of the range.
fn read_address(path: &Path) -> Option<IpAddr> {
    let text = crate::record::read_bounded(path, LONGEST).ok()?;
    std::str::from_utf8(&text).ok()?.parse().ok()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    failpoint::step("create lease store")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    failpoint::step("create lease")?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    failpoint::step("write lease")?;
    io::Write::write_all(&mut file, bytes)
}

fn remove(path: &Path) -> Result<(), Error> {
    match failpoint::step("remove lease").and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::state("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::range::Range;

    fn set(subnet: &str) -> RangeSet {
        RangeSet::new(vec![Range::new(subnet.parse().unwrap(), None, None, None).unwrap()]).unwrap()
    }

    async fn take(store: &Store, container_id: &str, subnet: &str) -> Option<String> {
        let owner = Owner { container_id, ifname: "eth0" };
        let address = store.lock().await.unwrap().reserve(0, &set(subnet), &owner).unwrap();
        address.map(|ip| ip.to_string())
    }

    #[tokio::test]
    async fn a_lease_is_written_as_host_local_writes_it_and_released_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("net"));
        assert_eq!(take(&store, "c1", "10.0.0.0/29").await.unwrap(), "10.0.0.2");
        assert_eq!(fs::read(folder.path().join("net/10.0.0.2")).unwrap(), b"c1\r\neth0");
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        store.release(&[address], &Owner { container_id: "c2", ifname: "eth0" }).unwrap();
        assert!(folder.path().join("net/10.0.0.2").exists());
        let owner = Owner { container_id: "c1", ifname: "eth0" };
        assert_eq!(store.held_by(&owner).unwrap(), [address]);
        store.release(&[address], &owner).unwrap();
        store.release(&[address], &owner).unwrap();
        assert!(store.held_by(&owner).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_full_range_gives_none_and_a_released_address_comes_back_last() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for _ in 0..5 {
            assert!(take(&store, "c", "10.0.0.0/29").await.is_some());
        }
        assert_eq!(take(&store, "c", "10.0.0.0/29").await, None);
        for free in ["10.0.0.3", "10.0.0.6"] {
            store.release(&[free.parse().unwrap()], &Owner { container_id: "c", ifname: "eth0" }).unwrap();
        }
        assert_eq!(take(&store, "d", "10.0.0.0/29").await.unwrap(), "10.0.0.3");
    }

    #[tokio::test]
    async fn the_store_stays_clean_of_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.probe().unwrap();
        take(&store, "c", "10.0.0.0/29").await.unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["10.0.0.2", "last_reserved_ip.0", "lock"]);
    }
}
