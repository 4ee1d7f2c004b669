//! The folder of records: one file each, named after the attachment's hash, whole or absent.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::hash::{attachment_hash, hash_of};
use super::{FORMAT, Record, read_bounded};
use crate::error::Error;
use crate::failpoint;
use crate::file;
use crate::ipam::store::Owner;

/// Longest record written and read back, in bytes.
const LONGEST: u64 = 64 << 10;

/// What a file in the folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record.
    Whole(Box<Record>),
    /// A record that is torn or in another format. The attachment it stands for is known by its hash
    /// alone.
    Unreadable {
        /// The attachment's [`attachment_hash`].
        hash: String,
    },
}

/// The folder of records.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) folder: PathBuf,
}

impl Records {
    /// The records in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the record of `owner` is or would be.
    pub fn path(&self, owner: &Owner<'_>) -> PathBuf {
        self.path_of(&attachment_hash(owner))
    }

    pub(crate) fn path_of(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.json"))
    }

    /// The record of `owner`. One that cannot be decoded counts as none: what it stood for is then found
    /// by name.
    pub fn load(&self, owner: &Owner<'_>) -> Result<Option<Record>, Error> {
        load(&self.path(owner))
    }

    /// What `listed` has become. Only for who holds the attachment: no ADD is writing it then.
    pub(crate) fn reload(&self, listed: &Record) -> Result<Option<Record>, Error> {
        let path = self.path(&listed.owner());
        match load(&path)? {
            // A killed ADD may have left the temporary file alone.
            None => load(&path.with_extension("tmp")),
            record => Ok(record),
        }
    }

    /// The record of the attachment with this [`attachment_hash`].
    pub(crate) fn by_hash(&self, hash: &str) -> Result<Option<Record>, Error> {
        if hash.is_empty() || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        load(&self.path_of(hash))
    }

    /// All records, for GC, in no order; also those of which a killed ADD left only the temporary file.
    pub fn list(&self) -> Result<Vec<Result<Entry, Error>>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::state("list attachment records", &self.folder))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::state("list attachment records", &self.folder))?.path();
            let Some(hash) = hash_of(&path) else { continue };
            let temporary = path.extension().is_some_and(|extension| extension == "tmp");
            if temporary && self.path_of(&hash).exists() {
                continue;
            }
            records.extend(load_entry(&path, hash).transpose());
        }
        Ok(records)
    }

    /// Writes `record`, whole or not at all.
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.owner());
        let text = serde_json::to_vec(record).map_err(Error::Decode)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
            let problem = format!("it would be longer than {LONGEST} bytes");
            return Err(Error::state("write attachment record", &path)(io::Error::other(problem)));
        }
        self.replace(&path, &text).map_err(Error::state("write attachment record", &path))
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        failpoint::step("create record")?;
        let mut file = self.create(&temporary)?;
        let written = failpoint::step("write record")
            .and_then(|()| file.write_all(text))
            .and_then(|()| failpoint::step("rename record"))
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is what counts; a leftover temporary file is overwritten or ignored.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let create = || file::options().create(true).truncate(true).write(true).open(path);
        in_folder(&self.folder, create)
    }

    /// Removes the record of `owner`; absence is success.
    pub fn remove(&self, owner: &Owner<'_>) -> Result<(), Error> {
        self.remove_hash(&attachment_hash(owner))
    }

    /// Removes the record of the attachment with this hash; absence is success.
    pub fn remove_hash(&self, hash: &str) -> Result<(), Error> {
        let path = self.path_of(hash);
        // First what a killed ADD may have left beside it.
        for path in [path.with_extension("tmp"), path] {
            let removed = failpoint::step("remove record")
                .and_then(|()| fs::remove_file(&path))
                .or_else(ignore_absence);
            removed.map_err(Error::state("remove attachment record", &path))?;
        }
        Ok(())
    }

    /// Whether records could be written.
    pub fn probe(&self) -> Result<(), Error> {
        let path = self.folder.join(".probe");
        // Others may probe at the same time: that the file is there, or gone, is no failure.
        let made = failpoint::step("create probe").and_then(|()| self.create(&path));
        made.map_err(Error::state("write", &path))?;
        let removed = failpoint::step("remove probe").and_then(|()| fs::remove_file(&path));
        removed.or_else(ignore_absence).map_err(Error::state("remove", &path))
    }
}

/// Nearly always the folder is there, so it is only looked for when it is not.
pub(super) fn in_folder<T>(folder: &Path, mut create: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(folder)?;
            create()
        }
        created => created,
    }
}

fn ignore_absence(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    failpoint::step("create the folder of records")?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn load(path: &Path) -> Result<Option<Record>, Error> {
    match read_bounded(path, LONGEST) {
        Ok(text) => Ok(decode(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::state("read attachment record", path)(error)),
    }
}

fn load_entry(path: &Path, hash: String) -> Result<Option<Entry>, Error> {
    match read_bounded(path, LONGEST) {
        Ok(text) => Ok(Some(match decode(&text) {
            Some(record) => Entry::Whole(Box::new(record)),
            None => Entry::Unreadable { hash },
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::state("read attachment record", path)(error)),
    }
}

/// Another format may mean something else by the same keys.
fn decode(text: &[u8]) -> Option<Record> {
    serde_json::from_slice(text).ok().filter(|record: &Record| record.v == FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostport::{HostPort, Protocol};
    use crate::record::Port;
    use crate::rtnl::Mac;

    #[test]
    fn a_record_reads_back_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("attachments"));
        let mac = "02:00:00:00:00:01".parse().ok();
        let host_ports = vec![HostPort {
            protocol: Protocol::Udp,
            host_port: 53,
            container_port: 5353,
            host_ip: Some("192.0.2.1".parse().unwrap()),
        }];
        let record = Record { mac, host_ports, ..Record::for_test("c1") }.delegated_to(Some("static"));
        assert_eq!(records.load(&record.owner()).unwrap(), None);
        records.save(&record).unwrap();
        assert_eq!(records.load(&record.owner()).unwrap(), Some(record.clone()));
        let listed = records.list().unwrap().pop().unwrap().unwrap();
        assert_eq!(listed, Entry::Whole(Box::new(record.clone())));
        records.remove(&record.owner()).unwrap();
        records.remove(&record.owner()).unwrap();
        assert!(records.list().unwrap().is_empty());
    }

    #[test]
    fn the_guard_is_told_of_a_port_alone() {
        let mut record = Record::for_test("c1");
        assert_eq!(record.guarded(), None);
        let mut port = Port { bridge: "tripod0".into(), mac: Some(Mac([2, 0, 0, 0, 0, 1])), trunk: false };
        record.port = Some(port.clone());
        let guarded = record.guarded().unwrap();
        assert_eq!((guarded.mac, guarded.addresses), (Some([2, 0, 0, 0, 0, 1]), record.addresses.clone()));
        port.trunk = true;
        record.port = Some(port);
        assert!(record.guarded().unwrap().addresses.is_empty());
    }

    #[test]
    fn a_record_that_is_torn_or_of_another_format_counts_as_none_and_is_listed_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().to_owned());
        let record = Record::for_test("c1");
        let newer = serde_json::to_vec(&Record { v: 2, ..record.clone() }).unwrap();
        for text in [b"{\"v\":1,".as_slice(), b"", &newer] {
            fs::write(records.path(&record.owner()), text).unwrap();
            assert_eq!(records.load(&record.owner()).unwrap(), None);
            let hash = attachment_hash(&record.owner());
            assert_eq!(records.list().unwrap().pop().unwrap().unwrap(), Entry::Unreadable { hash });
        }
    }

    #[test]
    fn the_temporary_file_of_a_killed_call_is_listed_where_the_record_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().to_owned());
        let path = records.path(&Record::for_test("c1").owner()).with_extension("tmp");
        fs::write(&path, serde_json::to_vec(&Record::for_test("c1")).unwrap()).unwrap();
        fs::write(folder.path().join(".probe.tmp"), b"").unwrap();
        fs::write(folder.path().join("notes.json"), b"").unwrap();
        assert_eq!(records.list().unwrap().len(), 1);
        records.save(&Record::for_test("c1")).unwrap();
        fs::write(&path, b"").unwrap();
        let listed = records.list().unwrap().pop().unwrap().unwrap();
        assert_eq!(listed, Entry::Whole(Box::new(Record::for_test("c1"))));
        records.remove(&Record::for_test("c1").owner()).unwrap();
        assert!(!path.exists());
    }
}
