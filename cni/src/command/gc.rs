//! GC: release every attachment of this network that the runtime does not list, by its record, or by its
//! leases where the record is lost. It goes on past failures and reports them together.

use std::cell::Cell;

use super::Node;
use crate::config::Outline;
use crate::datapath::ports;
use crate::datapath::shaping::ifb_of;
use crate::error::Error;
use crate::ipam;
use crate::ipam::store::{Owner, Store};
use crate::journal::{Journal, delete_link, forget_any_port};
use crate::nft::base::LINK_GROUP;
use crate::record::{Entry, Record, attachment_hash};

pub(super) fn run(outline: &Outline, node: &Node) -> Result<(), Error> {
    // Without the key nothing is known about what is valid, and so nothing may be taken away.
    let Some(valid) = outline.valid_attachments()? else { return Ok(()) };
    let collection = Collection { outline, node, valid: &valid, tried: Cell::new(0) };
    let mut failures = collection.by_record()?;
    let gives_addresses = outline.plugin.is_none() && !outline.is_chained();
    if gives_addresses {
        failures.extend(collection.by_lease()?);
    }
    failures.extend(collection.by_name()?);
    // What could not be detached keeps its address.
    if failures.is_empty() {
        failures.extend(collection.release_addresses(gives_addresses).err());
    }
    Error::together(failures, collection.tried.get())
}

struct Collection<'a> {
    outline: &'a Outline,
    node: &'a Node,
    valid: &'a [(String, String)],
    /// How many attachments there were to release so far.
    tried: Cell<usize>,
}

impl Collection<'_> {
    /// Names the attachment in what went wrong with it.
    fn counted(&self, owner: &Owner<'_>, release: impl FnOnce() -> Result<(), Error>) -> Option<Error> {
        self.tried.update(|tried| tried + 1);
        release().err().map(|error| error.about(owner))
    }

    fn by_record(&self) -> Result<Vec<Error>, Error> {
        let mut failures = Vec::new();
        for entry in self.node.records.list()? {
            match entry {
                Ok(Entry::Whole(record)) if self.is_stale(&record) => {
                    failures.extend(self.counted(&record.owner(), || self.release(&record)));
                }
                Ok(_) => {}
                Err(unreadable) => failures.push(unreadable),
            }
        }
        Ok(failures)
    }

    /// A lease tells its owner and, by the store it lies in, its network.
    fn by_lease(&self) -> Result<Vec<Error>, Error> {
        let mut failures = Vec::new();
        for ((container_id, ifname), addresses) in Store::new(&self.outline.store).by_owner()? {
            let owner = Owner { container_id: &container_id, ifname: &ifname };
            if !self.is_valid(&owner) && self.node.records.load(&owner)?.is_none() {
                let lost = Record::lost(&owner, &self.outline.name, &self.outline.store);
                let lost = Record { addresses, ..lost };
                failures.extend(self.counted(&owner, || self.release_lost(lost)));
            }
        }
        Ok(failures)
    }

    /// A record that cannot be read and has no leases here may be another network's, as long as there is
    /// a link that it stands for.
    fn by_name(&self) -> Result<Vec<Error>, Error> {
        let mut failures = Vec::new();
        for entry in self.node.records.list()? {
            if let Ok(Entry::Unreadable { hash }) = entry
                && !self.valid.iter().any(|(id, ifname)| attachment_hash(&owner(id, ifname)) == hash)
            {
                failures.extend(self.forget(&hash).err());
            }
        }
        Ok(failures)
    }

    fn forget(&self, hash: &str) -> Result<(), Error> {
        let host_ifname = format!("tp{hash}");
        let look = Error::kernel("look up interface", &host_ifname);
        match self.node.rtnl.link(&host_ifname).map_err(look)? {
            Some(link) if link.group == LINK_GROUP => {
                Err(Error::LostRecord { path: self.node.records.path_of(hash), host_ifname })
            }
            _ => {
                ports::release_any(hash)?;
                forget_any_port(&host_ifname)?;
                delete_link(self.node, &ifb_of(hash))?;
                self.node.records.remove_hash(hash)
            }
        }
    }

    /// While we waited for the attachment, another call may have changed or removed it. An ADD that has
    /// ended since the runtime made its list is not meant by it.
    fn release(&self, listed: &Record) -> Result<(), Error> {
        let _held = self.node.records.hold_to_undo(&listed.owner())?;
        match self.node.records.reload(listed)? {
            Some(now) if now.stage == listed.stage => Journal::of_attachment(now).rollback(self.node),
            _ => Ok(()),
        }
    }

    fn release_lost(&self, lost: Record) -> Result<(), Error> {
        let _held = self.node.records.hold_to_undo(&lost.owner())?;
        match self.node.records.load(&lost.owner())? {
            Some(_made_meanwhile) => Ok(()),
            None => Journal::of_lost_record(lost).rollback(self.node),
        }
    }

    fn release_addresses(&self, gives_addresses: bool) -> Result<(), Error> {
        let store = Store::new(&self.outline.store);
        match &self.outline.plugin {
            Some(plugin) => self.node.plugins.forward(plugin, "GC"),
            None if gives_addresses => ipam::sweep(&store, &self.node.records, self.valid),
            None => Ok(()),
        }
    }

    fn is_stale(&self, record: &Record) -> bool {
        record.network == self.outline.name && !self.is_valid(&record.owner())
    }

    fn is_valid(&self, owner: &Owner<'_>) -> bool {
        self.valid.iter().any(|(id, ifname)| id == owner.container_id && ifname == owner.ifname)
    }
}

fn owner<'a>(container_id: &'a str, ifname: &'a str) -> Owner<'a> {
    Owner { container_id, ifname }
}
