//! GC of a lease store: leases that neither the runtime nor a record knows. Attachments of other main
//! plugins that use the store by `tripod-ipam` have no record; their leases name container and interface,
//! and that is what the runtime lists.

use super::lease::{Holder, Owner};
use super::recorded;
use super::store::Store;
use crate::clock;
use crate::error::Error;
use crate::record::Records;

/// Releases every lease of `store` that is of none of the `valid` attachments (container id, interface)
/// and of no attachment with a record. Fails where such a record cannot be read: nothing may be released by
/// what it does not say.
pub(crate) fn sweep(store: &Store, records: &Records, valid: &[(String, String)]) -> Result<(), Error> {
    let mut stale = Vec::new();
    for (address, holder) in store.leases()? {
        let known = match &holder {
            Some(holder) => is_listed(holder, valid) || has_record(holder, records)?,
            None => false,
        };
        if !known {
            stale.push((address, holder));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let recorded = recorded(records, store.folder())?;
    stale.retain(|(address, _)| !recorded.contains(address));
    if stale.is_empty() {
        return Ok(());
    }
    let locked = store.lock()?;
    stale.into_iter().try_for_each(|(address, holder)| {
        // Only while it is still the lease that was looked at.
        locked.release_where(&[address], clock::since_boot(), |now| now == holder.as_ref())
    })
}

fn is_listed(holder: &Holder, valid: &[(String, String)]) -> bool {
    valid.iter().any(|(container_id, ifname)| Owner { container_id, ifname }.is(holder))
}

/// An ADD writes its record before it takes an address, which the record does not name until the end.
fn has_record(holder: &Holder, records: &Records) -> Result<bool, Error> {
    let Some(ifname) = &holder.ifname else { return Ok(false) };
    let owner = Owner { container_id: &holder.container_id, ifname };
    Ok(records.load(&owner)?.is_some())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::{Record, Stage};

    #[test]
    fn leases_that_nobody_knows_are_released_in_every_format() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("net"));
        let records = Records::new(folder.path().join("attachments"));
        fs::create_dir(store.folder()).unwrap();
        for (address, text) in [
            ("10.0.0.2", "listed\r\neth0"),
            ("10.0.0.3", "listed\r\neth1"),
            ("10.0.0.4", "listed"),
            ("10.0.0.5", "gone"),
            ("10.0.0.6", "gone\r\neth0"),
            ("10.0.0.7", "intended\r\neth0"),
            ("10.0.0.8", ""),
            ("10.0.0.9", ""),
        ] {
            fs::write(store.folder().join(address), text).unwrap();
        }
        let mut record = Record::for_test("intended");
        record.stage = Stage::Intent;
        record.store = store.folder().to_owned();
        records.save(&record).unwrap();
        record.container_id = "damaged".to_owned();
        record.addresses = vec!["10.0.0.9".parse().unwrap()];
        records.save(&record).unwrap();
        let valid = [("listed".to_owned(), "eth0".to_owned())];
        sweep(&store, &records, &valid).unwrap();
        let mut left: Vec<_> = store.leases().unwrap().iter().map(|(ip, _)| ip.to_string()).collect();
        left.sort();
        assert_eq!(left, ["10.0.0.2", "10.0.0.4", "10.0.0.7", "10.0.0.9"]);
        sweep(&Store::new(&folder.path().join("none")), &records, &valid).unwrap();
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_leases_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("net"));
        let records = Records::new(folder.path().join("attachments"));
        for name in ["net", "attachments"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(store.folder().join("10.0.0.2"), "listed\r\neth0").unwrap();
        let torn = folder.path().join("attachments/0123456789abc.json");
        fs::write(&torn, "{").unwrap();
        let valid = [("listed".to_owned(), "eth0".to_owned())];
        // Nothing depends on it yet.
        sweep(&store, &records, &valid).unwrap();
        fs::write(store.folder().join("10.0.0.3"), "gone").unwrap();
        let failure = sweep(&store, &records, &valid).unwrap_err().failure(crate::Version::V1_1_0);
        assert!(failure.code == 5 && failure.msg.contains("0123456789abc.json"), "{failure:?}");
        assert!(failure.details.contains("delete the record"), "{failure:?}");
        assert_eq!(store.leases().unwrap().len(), 2);
        fs::remove_file(torn).unwrap();
        sweep(&store, &records, &valid).unwrap();
        assert_eq!(store.leases().unwrap().len(), 1);
    }
}
