//! The cool-down: a released address is not given again for half a minute while there is another, so that
//! late packets of the last pod find nobody. One file in the lease folder, a queue in order of release;
//! whoever reads or writes it holds the folder's lock.
//!
//! It is a hint: where it cannot be read or written, addresses are given a little earlier or later, and
//! nothing fails.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failpoint;
use crate::file;

/// How long an address rests: longer than a client repeats its first packet to a pod that is gone.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// The file's name. No address, no container: host-local, which reads every file of its folder, finds
/// nothing in it.
pub(super) const NAME: &str = ".cooling";

const MAGIC: [u8; 8] = *b"tpcool1\n";

/// Magic and the number of entries that are over.
const HEADER: u64 = 16;

/// An address, IPv4 mapped into IPv6, and nanoseconds since the node was booted.
const ENTRY: u64 = 24;

/// Most entries in the file, 1.5 MiB. An address released beyond them rests until the hint is rebuilt.
const MOST: u64 = 1 << 16;

/// Most entries looked at in one ADD.
const MOST_AT_ONCE: u64 = 256;

/// Entries that are over before the file is written anew without them.
const WORTH_A_REWRITE: u64 = 1024;

/// The queue while the folder's lock is held.
#[derive(Debug)]
pub(super) struct Queue {
    path: PathBuf,
    file: File,
    over: u64,
    entries: u64,
}

impl Queue {
    /// The queue of the store in `folder`; none where there is none that can be used.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        let path = folder.join(NAME);
        let file = file::options().read(true).write(true).open(&path).ok()?;
        Self::read(path, file)
    }

    fn read(path: PathBuf, file: File) -> Option<Self> {
        let length = file.metadata().ok()?.len();
        let entries = length.saturating_sub(HEADER) / ENTRY;
        let mut header = [0; 16];
        file.read_exact_at(&mut header, 0).ok()?;
        let (magic, over) = header.split_first_chunk::<8>()?;
        let over = u64::from_le_bytes(over.try_into().ok()?);
        (*magic == MAGIC && over <= entries).then_some(Self { path, file, over, entries })
    }

    /// Takes those off the front whose time is over, a bounded number of them; [`Self::save`] makes it last.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<IpAddr> {
        let front = self.entries(self.over, MOST_AT_ONCE).into_iter();
        let over: Vec<IpAddr> =
            front.take_while(|(_, at)| is_over(*at, now)).map(|(address, _)| address).collect();
        self.over += u64::try_from(over.len()).unwrap_or_default();
        over
    }

    /// All that are in the queue, oldest first.
    pub(super) fn all(&self) -> Vec<IpAddr> {
        self.entries(self.over, MOST).into_iter().map(|(address, _)| address).collect()
    }

    /// Writes down what was taken off the front. The last thing to do with a queue.
    pub(super) fn save(self) {
        if self.over >= self.entries {
            drop(step().and_then(|()| self.file.set_len(0)));
        } else if self.over >= WORTH_A_REWRITE && self.over * 2 >= self.entries {
            self.rewrite();
        } else {
            drop(step().and_then(|()| self.file.write_all_at(&self.over.to_le_bytes(), 8)));
        }
    }

    /// Removes `address`, which was given again before its time.
    pub(super) fn withdraw(&self, address: IpAddr) {
        let entries = self.entries(self.over, MOST);
        for (index, _) in (self.over..).zip(entries).filter(|(_, (cooling, _))| *cooling == address) {
            let nobody = encode(Ipv6Addr::UNSPECIFIED.into(), Duration::ZERO);
            drop(step().and_then(|()| self.file.write_all_at(&nobody, HEADER + index * ENTRY)));
        }
    }

    fn entries(&self, first: u64, most: u64) -> Vec<(IpAddr, Duration)> {
        let count = self.entries.saturating_sub(first).min(most);
        let mut bytes = vec![0; usize::try_from(count * ENTRY).unwrap_or_default()];
        if self.file.read_exact_at(&mut bytes, HEADER + first * ENTRY).is_err() {
            return Vec::new();
        }
        bytes.chunks_exact(24).filter_map(decode).collect()
    }

    /// Writes the live entries under another name and puts them in place.
    fn rewrite(&self) {
        let entries = self.entries(self.over, MOST).into_iter();
        let live = entries.flat_map(|(address, at)| encode(address, at));
        let bytes: Vec<u8> = header().into_iter().chain(live).collect();
        let temporary = self.path.with_extension("tmp");
        let open = || file::options().create(true).truncate(true).write(true).open(&temporary);
        let file = step().and_then(|()| open());
        let written = file.and_then(|file| file.write_all_at(&bytes, 0)).and_then(|()| step());
        drop(written.and_then(|()| fs::rename(&temporary, &self.path)));
    }
}

/// Puts `addresses` at the end of the queue in `folder`.
pub(super) fn release(folder: &Path, addresses: &[IpAddr], now: Duration) {
    let path = folder.join(NAME);
    let open = || file::options().read(true).write(true).create(true).truncate(false).open(&path);
    let Ok(file) = step().and_then(|()| open()) else { return };
    let new = addresses.iter().flat_map(|address| encode(*address, now));
    // At a place of its own, not at the end: a torn entry is written over.
    match file.try_clone().ok().and_then(|file| Queue::read(path, file)) {
        Some(queue) if queue.entries >= MOST => {}
        Some(queue) => {
            let bytes: Vec<u8> = new.collect();
            drop(step().and_then(|()| file.write_all_at(&bytes, HEADER + queue.entries * ENTRY)));
        }
        None => {
            let bytes: Vec<u8> = header().into_iter().chain(new).collect();
            let emptied = step().and_then(|()| file.set_len(0)).and_then(|()| step());
            drop(emptied.and_then(|()| file.write_all_at(&bytes, 0)));
        }
    }
}

/// Addresses that rest `now` in the store in `folder`, which is only read.
pub(super) fn resting(folder: &Path, now: Duration) -> Vec<IpAddr> {
    let path = folder.join(NAME);
    let queue = file::options().read(true).open(&path).ok().and_then(|file| Queue::read(path, file));
    let Some(queue) = queue else { return Vec::new() };
    let resting = |(address, at): &(IpAddr, Duration)| !address.is_unspecified() && !is_over(*at, now);
    let entries = queue.entries(queue.over, MOST).into_iter();
    entries.filter(resting).map(|(address, _)| address).collect()
}

/// An address released in the future was released before the last boot, whose sandboxes are gone.
fn is_over(at: Duration, now: Duration) -> bool {
    now.checked_sub(at).is_none_or(|age| age >= COOL_DOWN)
}

fn step() -> io::Result<()> {
    failpoint::step("write cool-down hint")
}

fn header() -> Vec<u8> {
    [MAGIC, 0u64.to_le_bytes()].concat()
}

fn encode(address: IpAddr, at: Duration) -> Vec<u8> {
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    [address.octets().as_slice(), &at.to_le_bytes()].concat()
}

fn decode(entry: &[u8]) -> Option<(IpAddr, Duration)> {
    let (address, at) = entry.split_first_chunk::<16>()?;
    let at = u64::from_le_bytes(at.try_into().ok()?);
    Some((Ipv6Addr::from(*address).to_canonical(), Duration::from_nanos(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn addresses_rest_for_half_a_minute_in_the_order_of_their_release() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Queue::open(folder.path()).is_none());
        let v6: IpAddr = "fd00::2".parse().unwrap();
        release(folder.path(), &[ip(2), v6], at(100));
        release(folder.path(), &[ip(3)], at(110));
        let mut queue = Queue::open(folder.path()).unwrap();
        assert_eq!(queue.all(), [ip(2), v6, ip(3)]);
        assert!(queue.expire(at(129)).is_empty());
        assert_eq!(queue.expire(at(130)), [ip(2), v6]);
        assert_eq!(queue.all(), [ip(3)]);
        queue.save();
        let mut queue = Queue::open(folder.path()).unwrap();
        assert_eq!(queue.expire(at(140)), [ip(3)]);
        queue.save();
        assert!(Queue::open(folder.path()).is_none());
        release(folder.path(), &[ip(4)], at(200));
        assert_eq!(Queue::open(folder.path()).unwrap().all(), [ip(4)]);
    }

    #[test]
    fn a_clock_that_jumps_only_ends_the_rest_early() {
        let folder = tempfile::tempdir().unwrap();
        release(folder.path(), &[ip(2)], at(1_000_000));
        for (now, over) in [(at(5), 1), (Duration::MAX, 1), (at(1_000_000), 0), (at(1_000_030), 1)] {
            let mut queue = Queue::open(folder.path()).unwrap();
            assert_eq!(queue.expire(now).len(), over, "{now:?}");
        }
    }

    #[test]
    fn an_address_given_before_its_time_is_no_longer_in_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        release(folder.path(), &[ip(2), ip(3), ip(2)], at(1));
        let queue = Queue::open(folder.path()).unwrap();
        queue.withdraw(ip(2));
        let nobody: IpAddr = Ipv6Addr::UNSPECIFIED.into();
        assert_eq!(queue.all(), [nobody, ip(3), nobody]);
    }

    #[test]
    fn torn_and_foreign_files_are_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for damage in [b"".as_slice(), b"tpcool1\n", b"foreign, and longer than a header", &[0xff; 100]] {
            fs::write(&path, damage).unwrap();
            assert!(Queue::open(folder.path()).is_none(), "{damage:?}");
            release(folder.path(), &[ip(2)], at(1));
            assert_eq!(Queue::open(folder.path()).unwrap().all(), [ip(2)]);
        }
        // The end of a torn entry is written over.
        let mut torn = fs::read(&path).unwrap();
        torn.extend([7; 11]);
        fs::write(&path, torn).unwrap();
        release(folder.path(), &[ip(3)], at(1));
        assert_eq!(Queue::open(folder.path()).unwrap().all(), [ip(2), ip(3)]);
    }

    #[test]
    fn the_file_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let length = || fs::metadata(folder.path().join(NAME)).unwrap().len();
        for second in 0..10_000 {
            release(folder.path(), &[ip(2)], at(second));
            let mut queue = Queue::open(folder.path()).unwrap();
            queue.expire(at(second));
            queue.save();
        }
        assert!(length() < 200_000, "{}", length());
        assert_eq!(Queue::open(folder.path()).unwrap().all().len(), 30);
        let many = vec![ip(2); 1 << 16];
        release(folder.path(), &many, at(10_000));
        let full = length();
        release(folder.path(), &many, at(10_000));
        assert_eq!(length(), full);
    }
}
