//! Attachment records: one JSON file per attachment, found by (container id, interface) alone, so that
//! DEL and GC work with whatever configuration the runtime has by then.
//!
//! A record is written as intent before the first change to the node, completed after the last, and
//! removed when nothing is left to undo.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::datapath::host_ifname;
use crate::error::Error;
use crate::ipam::store::Owner;
use crate::spec::Args;

/// Longest record read back, in bytes.
const LONGEST: u64 = 64 << 10;

/// How far an ADD has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// ADD began; what it made is unknown.
    Intent,
    /// ADD ended well.
    Complete,
}

/// What an attachment put on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Format of this file.
    pub v: u32,
    /// How far ADD has come.
    pub stage: Stage,
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS` at ADD.
    pub netns: PathBuf,
    /// The network's name at ADD.
    pub network: String,
    /// The lease store's folder at ADD.
    pub store: PathBuf,
    /// The host end's name.
    pub host_ifname: String,
    /// The leased addresses; empty in an intent.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// `namespace/name` of the pod, where the runtime said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// The folder of records.
#[derive(Clone, Debug)]
pub struct Records {
    folder: PathBuf,
}

impl Record {
    /// What is known of an attachment before anything is made for it, or when its record is lost.
    pub(crate) fn intent(args: &Args, netns: PathBuf, network: &str, store: &Path) -> Self {
        let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
        Self {
            v: 1,
            stage: Stage::Intent,
            container_id: args.container_id.clone(),
            ifname: args.ifname.clone(),
            netns,
            network: network.to_owned(),
            store: store.to_owned(),
            host_ifname: host_ifname(&owner),
            addresses: Vec::new(),
            pod: args.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name)),
        }
    }

    /// Who holds the leases.
    pub fn owner(&self) -> Owner<'_> {
        Owner { container_id: &self.container_id, ifname: &self.ifname }
    }
}

impl Records {
    /// The records in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the record of `owner` is or would be.
    pub fn path(&self, owner: &Owner<'_>) -> PathBuf {
        self.folder.join(format!("{}.json", attachment_hash(owner)))
    }

    /// The record of `owner`. One that cannot be decoded counts as none: what it stood for is then found
    /// by name.
    pub fn load(&self, owner: &Owner<'_>) -> Result<Option<Record>, Error> {
        load(&self.path(owner))
    }

    /// All records, for GC, in no order. One that cannot be read is an error of its own among the others.
    pub fn list(&self) -> Result<Vec<Result<Record, Error>>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::state("list attachment records", &self.folder))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::state("list attachment records", &self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(load_whole(&path).transpose());
            }
        }
        Ok(records)
    }

    /// Writes `record`, whole or not at all.
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.owner());
        let text = serde_json::to_vec(record).map_err(Error::Decode)?;
        self.replace(&path, &text).map_err(Error::state("write attachment record", &path))
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        if !self.folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        }
        let temporary = path.with_extension("tmp");
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(text).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is what counts; a leftover temporary file is overwritten or ignored.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    /// Removes the record of `owner`; absence is success.
    pub fn remove(&self, owner: &Owner<'_>) -> Result<(), Error> {
        let path = self.path(owner);
        // First what a killed ADD may have left beside it.
        for path in [path.with_extension("tmp"), path] {
            let removed = fs::remove_file(&path).or_else(ignore_absence);
            removed.map_err(Error::state("remove attachment record", &path))?;
        }
        Ok(())
    }

    /// Whether records could be written.
    pub fn probe(&self) -> Result<(), Error> {
        let path = self.folder.join(".probe");
        self.replace(&path, b"").map_err(Error::state("write", &path))?;
        fs::remove_file(&path).or_else(ignore_absence).map_err(Error::state("remove", &path))
    }
}

fn ignore_absence(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn load(path: &Path) -> Result<Option<Record>, Error> {
    match read_bounded(path, LONGEST) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::state("read attachment record", path)(error)),
    }
}

/// As [`load`], but what cannot be decoded is an error: the caller knows nothing else of it.
fn load_whole(path: &Path) -> Result<Option<Record>, Error> {
    match read_bounded(path, LONGEST) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::state("decode attachment record", path)(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::state("read attachment record", path)(error)),
    }
}

/// The first `limit` bytes of the file at `path`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

/// Thirteen hexadecimal digits that stand for an attachment: in the host end's name, of which the
/// kernel allows 15 bytes, and in the record's.
pub fn attachment_hash(owner: &Owner<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(owner.container_id);
    hash.update([0]);
    hash.update(owner.ifname);
    let first = hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    format!("{:013x}", first >> (64 - 13 * 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            v: 1,
            stage: Stage::Complete,
            container_id: "c1".into(),
            ifname: "eth0".into(),
            netns: "/proc/1/ns/net".into(),
            network: "tripod".into(),
            store: "/run/tripod/ipam/tripod".into(),
            host_ifname: "tp0123456789abc".into(),
            addresses: vec!["10.0.0.2".parse().unwrap()],
            pod: Some("shop/web".into()),
        }
    }

    #[test]
    fn a_record_reads_back_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("attachments"));
        let record = record();
        assert_eq!(records.load(&record.owner()).unwrap(), None);
        records.save(&record).unwrap();
        assert_eq!(records.load(&record.owner()).unwrap(), Some(record.clone()));
        assert_eq!(records.list().unwrap().pop().unwrap().unwrap(), record);
        records.remove(&record.owner()).unwrap();
        records.remove(&record.owner()).unwrap();
        assert!(records.list().unwrap().is_empty());
    }

    #[test]
    fn a_torn_record_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().to_owned());
        let record = record();
        fs::write(records.path(&record.owner()), b"{\"v\":1,").unwrap();
        assert_eq!(records.load(&record.owner()).unwrap(), None);
        let error = records.list().unwrap().pop().unwrap().unwrap_err();
        assert!(error.to_string().contains(".json"), "{error}");
    }

    #[test]
    fn the_hash_tells_the_container_from_the_interface() {
        let hash = |container_id, ifname| attachment_hash(&Owner { container_id, ifname });
        // The first digits of what `printf 'c1\0eth0' | sha256sum` prints; other releases must find it too.
        assert_eq!(hash("c1", "eth0"), "ec43057c07aaa");
        assert_ne!(hash("c1", "eth0"), hash("c1e", "th0"));
    }
}
