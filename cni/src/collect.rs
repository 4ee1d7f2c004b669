//! An attachment whose host end is gone, released as a DEL would. containerd never calls GC, and a sandbox
//! that died with its runtime is never told of; the node agent asks here.

use nix::net::if_::if_nametoindex;

use crate::command::{Dirs, Node};
use crate::delegate::Plugins;
use crate::error::Error;
use crate::journal::Journal;
use crate::patience::to_the_end;
use crate::record::{Record, Records};

/// How long one attachment may take, in seconds: whoever asks has others to look at.
const DEADLINE: u64 = 5;

/// What became of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// Its leases, host ports, what the guard of bridges knew, and its record are gone.
    Released,
    /// It stays: its link is there, or it is another one by now, or a call is at work on it.
    Alive,
    /// It stays: somebody else must give its addresses back first, for this reason.
    Left(String),
}

/// Whether nothing is left of the attachment's link. One whose link another plugin made, or that is a mere
/// name, is never said to be gone.
pub fn is_orphan(record: &Record) -> bool {
    let is_ours = !record.chained && !record.host_ifname.is_empty();
    is_ours && if_nametoindex(record.host_ifname.as_str()).is_err()
}

/// Releases the attachment that `listed` is about, unless its host end is there. While a call is at work on it
/// nothing is done: an ADD has a record before it has a link.
pub fn collect(dirs: &Dirs, listed: &Record) -> Result<Collected, Error> {
    let records = Records::new(dirs.attachments.clone());
    let owner = listed.owner();
    let Some(_held) = records.try_hold(&owner)? else { return Ok(Collected::Alive) };
    // What was listed before the attachment was held may be another one by now, or none.
    let now = records.reload(listed)?.filter(|now| now.stage == listed.stage && is_orphan(now));
    let Some(record) = now else { return Ok(Collected::Alive) };
    if let Some(reason) = obstacle(&record, dirs) {
        return Ok(Collected::Left(reason));
    }
    let node = Node::open(records, Plugins::none())?;
    to_the_end("releasing an orphan", DEADLINE, || Journal::of_attachment(record).rollback(&node))?;
    Ok(Collected::Released)
}

/// Why the addresses cannot be given back from here. With the record gone, nobody would know of them.
fn obstacle(record: &Record, dirs: &Dirs) -> Option<String> {
    if let Some(delegated) = &record.delegated {
        return Some(format!(
            "IPAM plugin {} gave its addresses, and only the runtime may execute it: its DEL or GC releases them",
            delegated.plugin
        ));
    }
    (!record.store.starts_with(&dirs.leases)).then(|| {
        format!(
            "its leases are in {:?}, which is the runtime's to name: its DEL or GC releases them",
            record.store
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::Port;

    #[test]
    fn addresses_of_others_keep_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let dirs =
            Dirs { attachments: folder.path().join("attachments"), leases: folder.path().join("ipam") };
        let records = Records::new(dirs.attachments.clone());
        let inside = Record { store: dirs.leases.join("pods"), ..Record::for_test("c1") };
        assert_eq!(obstacle(&inside, &dirs), None);
        let delegated = inside.clone().delegated_to(Some("static"));
        let elsewhere = Record { store: "/var/lib/cni/networks/pods".into(), ..inside };
        for (record, reason) in [(delegated, "IPAM plugin static"), (elsewhere, "/var/lib/cni/networks/pods")]
        {
            records.save(&record).unwrap();
            let collected = collect(&dirs, &record).unwrap();
            assert!(matches!(&collected, Collected::Left(why) if why.contains(reason)), "{collected:?}");
            assert!(fs::exists(records.path(&record.owner())).unwrap());
        }
    }

    #[test]
    fn only_a_link_of_our_own_is_missed() {
        let record = Record::for_test("c1");
        assert!(is_orphan(&record));
        assert!(!is_orphan(&Record { host_ifname: "lo".into(), ..record.clone() }));
        assert!(!is_orphan(&Record { host_ifname: String::new(), ..record.clone() }));
        assert!(!is_orphan(&Record { chained: true, ..record.clone() }));
        let port = Some(Port { bridge: "tripod0".into(), mac: None, trunk: false });
        assert!(is_orphan(&Record { port, ..record }));
    }
}
