//! Attachment records: one JSON file per attachment, found by (container id, interface) alone, so that
//! DEL and GC work with whatever configuration the runtime has by then.
//!
//! A record is written as intent before the first change to the node, completed after the last, and
//! removed when nothing is left to undo. A call keeps the attachment to itself while it works on it.

mod hold;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::datapath::host_ifname;
use crate::datapath::shaping::ifb_name;
use crate::error::Error;
use crate::failpoint;
use crate::hostport::HostPort;
use crate::ipam::store::Owner;
use crate::nft::bridge::Guarded;
use crate::rtnl::Mac;
use crate::spec::{Args, Route};

/// Longest record read back, in bytes.
const LONGEST: u64 = 64 << 10;

/// The format we write. A file of another one is not ours to read.
const FORMAT: u32 = 1;

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
    /// Whether another main plugin made the links and gave the addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chained: bool,
    /// The host end's name; empty where another plugin made the links and there is none.
    pub host_ifname: String,
    /// Index of a host end that another plugin made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_index: Option<u32>,
    /// Whether the host end holds back what goes to the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ingress_limit: bool,
    /// The ifb device that holds back what the pod sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifb: Option<String>,
    /// The attachment's addresses; empty in an intent, unless chained.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to the pod. DEL and GC are not told them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// The link on the node that a pod with host ports shares with other pods, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_device: Option<String>,
    /// The IPAM plugin that gave the addresses; absent where the store did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delegated: Option<Delegated>,
    /// Hardware address of the pod's end, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Mac>,
    /// The port of a bridge that the host end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// `namespace/name` of the pod, where the runtime said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

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

/// What an IPAM plugin did for an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delegated {
    /// Its name: it alone can take the addresses back, whatever `ipam.type` says by then.
    pub plugin: String,
    /// The routes that came with the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
}

/// What an attachment in mode `bridge` is to the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The bridge's name.
    pub bridge: String,
    /// The only hardware address that the pod may send from, where it is held to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Mac>,
    /// Whether the pod is in VLANs by their tags too, where it has addresses that we do not know.
    #[serde(default)]
    pub trunk: bool,
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
        let pod = args.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        Self { netns, pod, ifb: None, ..Self::lost(&owner, network, store) }
    }

    /// What is known of an attachment by its name alone.
    pub(crate) fn lost(owner: &Owner<'_>, network: &str, store: &Path) -> Self {
        Self {
            v: FORMAT,
            stage: Stage::Intent,
            container_id: owner.container_id.to_owned(),
            ifname: owner.ifname.to_owned(),
            netns: PathBuf::new(),
            network: network.to_owned(),
            store: store.to_owned(),
            chained: false,
            host_ifname: host_ifname(owner),
            host_index: None,
            ingress_limit: false,
            ifb: Some(ifb_name(owner)),
            addresses: Vec::new(),
            host_ports: Vec::new(),
            shared_device: None,
            delegated: None,
            mac: None,
            port: None,
            pod: None,
        }
    }

    /// The same for addresses that `plugin` gives, where one does.
    pub(crate) fn delegated_to(self, plugin: Option<&str>) -> Self {
        let delegated = plugin.map(|plugin| Delegated { plugin: plugin.to_owned(), routes: None });
        Self { delegated, ..self }
    }

    /// A whole attachment of a container.
    #[cfg(test)]
    pub(crate) fn for_test(container_id: &str) -> Self {
        Self {
            v: 1,
            stage: Stage::Complete,
            container_id: container_id.to_owned(),
            ifname: "eth0".into(),
            netns: "/proc/1/ns/net".into(),
            network: "tripod".into(),
            store: "/run/tripod/ipam/tripod".into(),
            chained: false,
            host_ifname: "tp0123456789abc".into(),
            host_index: None,
            ingress_limit: false,
            ifb: None,
            addresses: vec![IpAddr::from([10, 0, 0, 2])],
            host_ports: Vec::new(),
            shared_device: None,
            delegated: None,
            mac: None,
            port: None,
            pod: Some("shop/web".into()),
        }
    }

    /// What the guard of bridges must know of this attachment, where its host end is a port of one.
    pub fn guarded(&self) -> Option<Guarded> {
        let port = self.port.as_ref()?;
        Some(Guarded {
            ifname: self.host_ifname.clone(),
            comment: format!("{} {}", self.container_id, self.ifname),
            addresses: if port.trunk { Vec::new() } else { self.addresses.clone() },
            mac: port.mac.map(|Mac(bytes)| bytes),
        })
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
        self.replace(&path, &text).map_err(Error::state("write attachment record", &path))
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        make_folder(&self.folder)?;
        let temporary = path.with_extension("tmp");
        failpoint::step("create record")?;
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
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
        self.replace(&path, b"").map_err(Error::state("write", &path))?;
        let removed = failpoint::step("remove probe").and_then(|()| fs::remove_file(&path));
        removed.or_else(ignore_absence).map_err(Error::state("remove", &path))
    }
}

fn ignore_absence(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    failpoint::step("create the folder of records")?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The hash in a record's name; none for a file that is no record.
fn hash_of(path: &Path) -> Option<String> {
    let hash = path.file_stem()?.to_str()?;
    let is_hash = hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_ours = matches!(path.extension()?.to_str()?, "json" | "tmp");
    (is_hash && is_ours).then(|| hash.to_owned())
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

/// The first `limit` bytes of the file at `path`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

const HASH_LENGTH: usize = 13;

/// Thirteen hexadecimal digits that stand for an attachment: in the host end's name, of which the
/// kernel allows 15 bytes, and in the record's.
pub fn attachment_hash(owner: &Owner<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(owner.container_id);
    hash.update([0]);
    hash.update(owner.ifname);
    let first = hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    format!("{:0HASH_LENGTH$x}", first >> (64 - 4 * HASH_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostport::Protocol;

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

    #[test]
    fn the_hash_tells_the_container_from_the_interface() {
        let hash = |container_id, ifname| attachment_hash(&Owner { container_id, ifname });
        // The first digits of what `printf 'c1\0eth0' | sha256sum` prints; other releases must find it too.
        assert_eq!(hash("c1", "eth0"), "ec43057c07aaa");
        assert_ne!(hash("c1", "eth0"), hash("c1e", "th0"));
    }
}
