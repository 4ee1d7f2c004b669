//! The verb table: what each verb needs, how long it may take, and how a failed one is undone.

mod add;
mod chained;
mod check;
mod del;
mod gc;
pub(crate) mod ipam;
pub(crate) mod loopback;
mod status;

pub(crate) use status::agent_is_ready;

use std::cell::OnceCell;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::Outline;
use crate::delegate::Plugins;
use crate::error::Error;
use crate::nft::Nft;
use crate::patience::{to_the_end, within};
use crate::record::Records;
use crate::rtnl::Rtnl;
use crate::spec::{Args, Command, Version};

/// Where Tripod keeps its state on a node.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Folder of the attachment records.
    pub attachments: PathBuf,
    /// Folder under which each network has its lease store.
    pub leases: PathBuf,
}

/// The node a call works on.
#[derive(Debug)]
pub(crate) struct Node {
    /// The attachments made so far.
    pub records: Records,
    /// The node's own links and routes.
    pub rtnl: Rtnl,
    /// The IPAM plugins that may be executed.
    pub plugins: Plugins,
    nft: OnceCell<Nft>,
}

impl Node {
    pub(crate) fn open(records: Records, plugins: Plugins) -> Result<Self, Error> {
        let rtnl = Rtnl::open().map_err(Error::kernel("open", "a netlink socket"))?;
        Ok(Self { records, rtnl, plugins, nft: OnceCell::new() })
    }

    /// The node's nf_tables, by one socket for the whole call: when one is closed, the kernel first waits
    /// until the memory of whatever anybody removed is free, as long as a link takes to go.
    pub(crate) fn nft(&self) -> io::Result<&Nft> {
        if let Some(nft) = self.nft.get() {
            return Ok(nft);
        }
        let nft = Nft::open()?;
        Ok(self.nft.get_or_init(|| nft))
    }

    /// The same node over another connection.
    fn reopen(&self) -> Result<Self, Error> {
        Self::open(self.records.clone(), self.plugins.clone())
    }
}

/// Executes one call. The value is the document for stdout, where the verb has one.
pub(crate) fn run(args: &Args, text: &[u8], dirs: &Dirs) -> Result<Option<Value>, Error> {
    if args.command == Command::Version {
        return Ok(Some(versions()));
    }
    let outline = || Outline::parse(text, &dirs.leases);
    let records = Records::new(dirs.attachments.clone());
    let plugins = Plugins::new(args, text);
    let open = || Node::open(records.clone(), plugins.clone());
    if args.command == Command::Del {
        return within("DEL", 30, || del::run(args, outline, &open()?)).map(|()| None);
    }
    let outline = outline()?;
    require_version(args.command, outline.version)?;
    match args.command {
        Command::Add if outline.is_chained() => chained::add(args, outline, &open()?).map(Some),
        Command::Add => add::run(args, outline, &open()?).map(Some),
        Command::Check if outline.is_chained() => {
            within("CHECK", 10, || chained::check(args, outline, &open()?)).map(|()| None)
        }
        Command::Check => within("CHECK", 10, || check::run(args, outline, &open()?)).map(|()| None),
        Command::Gc => within("GC", 60, || gc::run(&outline, &open()?)).map(|()| None),
        // A runtime asks every few seconds and may wait with a lock held.
        Command::Status => within("STATUS", 1, || status::run(outline, records, &plugins)).map(|()| None),
        Command::Del | Command::Version => Ok(None),
    }
}

/// Undoes an ADD whose result could not be told.
pub(crate) fn take_back(args: &Args, dirs: &Dirs) -> Result<(), Error> {
    // A plugin that gave addresses would need the configuration, which the next DEL or GC has.
    let node = Node::open(Records::new(dirs.attachments.clone()), Plugins::new(args, b""))?;
    // Whoever does not listen any more may well have sent SIGTERM too.
    to_the_end("undoing ADD", 30, || del::recorded(args, &node))
}

/// The answer to VERSION, which a runtime may ask for without a configuration.
pub(crate) fn versions() -> Value {
    json!({"cniVersion": Version::default(), "supportedVersions": Version::ALL})
}

/// CHECK came with 0.4.0, STATUS and GC with 1.1.0.
fn require_version(command: Command, asked: Version) -> Result<(), Error> {
    let (verb, since) = match command {
        Command::Check => ("CHECK", Version::V0_4_0),
        Command::Status => ("STATUS", Version::V1_1_0),
        Command::Gc => ("GC", Version::V1_1_0),
        Command::Add | Command::Del | Command::Version => return Ok(()),
    };
    if asked >= since {
        return Ok(());
    }
    let supported = Version::ALL.into_iter().filter(|version| *version >= since).map(Version::as_str);
    Err(Error::IncompatibleVersion {
        verb,
        asked: asked.as_str().to_owned(),
        supported: supported.collect::<Vec<_>>().join(", "),
    })
}
