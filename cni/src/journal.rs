//! The undo journal: each step that changes the node pushes its inverse as a value before it acts, and
//! one place executes them in reverse. DEL and GC are the same inverses, read from a record.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::clock;
use crate::command::Node;
use crate::datapath::{ports, shaping};
use crate::error::{self, Error};
use crate::ipam::store::Store;
use crate::nft::base::LINK_GROUP;
use crate::nft::bridge::{self, Guarded};
use crate::nft::{self, Nft, masquerade};
use crate::record::{Record, attachment_hash};

/// The inverse of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Remove the attachment's record.
    RemoveRecord,
    /// Give back these addresses.
    ReleaseLeases(Vec<IpAddr>),
    /// Let the IPAM plugin of the record take its addresses back.
    ReleaseDelegated,
    /// Give back every address the attachment holds, where nobody wrote down which.
    ReleaseAnyLease,
    /// Give back the record's host ports.
    ReleaseHostPorts,
    /// Give back every host port of the attachment, where nobody wrote down which.
    ReleaseAnyHostPort,
    /// Forget what this port of a bridge may send from.
    ForgetPort(Guarded),
    /// Forget whatever a port of this attachment may send from, where nobody wrote that down.
    ForgetAnyPort,
    /// Remove the masquerade chains of these addresses.
    ReleaseMasquerade(Vec<IpAddr>),
    /// Delete the host end; its routes, neighbours and the pod's end go with it.
    DeleteLink,
    /// Delete the ifb device.
    DeleteIfb,
    /// Take our limits off a host end that another plugin made.
    LiftLimits,
}

/// The inverses of what was done for one attachment, in the order of doing.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    record: Record,
    steps: Vec<Undo>,
}

impl Journal {
    /// An empty journal for the attachment that `record` is about.
    pub(crate) fn new(record: Record) -> Self {
        Self { record, steps: Vec::new() }
    }

    /// All inverses for an attachment that was once made.
    pub(crate) fn of_attachment(record: Record) -> Self {
        let mut steps = vec![Undo::RemoveRecord];
        // Addresses and links that another plugin made are that plugin's to remove.
        if !record.chained {
            steps.push(match &record.delegated {
                Some(_) => Undo::ReleaseDelegated,
                None if record.addresses.is_empty() => Undo::ReleaseAnyLease,
                None => Undo::ReleaseLeases(record.addresses.clone()),
            });
        }
        steps.extend(record.hidden_alone.then(|| Undo::ReleaseMasquerade(record.addresses.clone())));
        steps.extend(record.guarded().map(Undo::ForgetPort));
        steps.extend((!record.chained).then_some(Undo::DeleteLink));
        // Before the link, so that the kernel ends both in the same wait.
        steps.extend((!record.host_ports.is_empty()).then_some(Undo::ReleaseHostPorts));
        steps.extend(record.ifb.is_some().then_some(Undo::DeleteIfb));
        steps.push(Undo::LiftLimits);
        Self { record, steps }
    }

    /// All inverses for an attachment of which nothing is known but its name.
    pub(crate) fn of_lost_record(record: Record) -> Self {
        let mut journal = Self::of_attachment(record);
        journal.push(Undo::ReleaseAnyHostPort);
        journal.push(Undo::ForgetAnyPort);
        journal
    }

    /// Notes the inverse of the step that comes next.
    pub(crate) fn push(&mut self, step: Undo) {
        self.steps.push(step);
    }

    /// Forgets the last inverse: its step turned out to change nothing.
    pub(crate) fn pop(&mut self) {
        self.steps.pop();
    }

    /// Executes the inverses in reverse. It stops at the first that fails, because the earlier ones are
    /// what the later stand on: an address whose link is still there must not be given again.
    pub(crate) fn rollback(mut self, node: &Node) -> Result<(), Error> {
        while let Some(step) = self.steps.pop() {
            self.execute(&step, node)?;
        }
        Ok(())
    }

    fn execute(&self, step: &Undo, node: &Node) -> Result<(), Error> {
        let owner = self.record.owner();
        let store = Store::new(&self.record.store);
        match step {
            Undo::RemoveRecord => node.records.remove(&owner),
            Undo::ReleaseLeases(addresses) => store.release(addresses, &owner, clock::since_boot()),
            Undo::ReleaseAnyLease => store.release_all(&owner, clock::since_boot()),
            Undo::ReleaseDelegated => self.release_delegated(node),
            Undo::ReleaseMasquerade(addresses) => {
                let forgotten = node.nft().and_then(|nft| masquerade::forget(nft, addresses));
                forgotten.map_err(Error::kernel("remove a masquerade chain of", "nftables table inet tripod"))
            }
            Undo::ReleaseHostPorts => ports::release(&self.record, node),
            Undo::ReleaseAnyHostPort => ports::release_any(&attachment_hash(&owner)),
            Undo::ForgetPort(guarded) => {
                forgotten(&guarded.ifname, Nft::open().and_then(|nft| bridge::forget(&nft, guarded)))
            }
            Undo::ForgetAnyPort => forget_any_port(&self.record.host_ifname),
            Undo::DeleteLink => delete_link(node, &self.record.host_ifname),
            Undo::DeleteIfb => match &self.record.ifb {
                Some(ifb) => delete_link(node, ifb),
                None => Ok(()),
            },
            // A host end of our own takes its limits with it.
            Undo::LiftLimits => match self.record.host_index {
                Some(index) => shaping::lift(&node.rtnl, index, &self.record),
                None => Ok(()),
            },
        }
    }

    fn release_delegated(&self, node: &Node) -> Result<(), Error> {
        match &self.record.delegated {
            Some(delegated) => node.plugins.release(&delegated.plugin, &self.record),
            None => Ok(()),
        }
    }
}

/// Deletes a link if it is ours. That it is gone already is no failure.
pub(crate) fn delete_link(node: &Node, name: &str) -> Result<(), Error> {
    let look = || Error::kernel("look up interface", name);
    match node.rtnl.link(name).map_err(look())? {
        Some(link) if link.group == LINK_GROUP => match node.rtnl.delete_link(name) {
            Err(error) if !is_absence(&error) => Err(Error::kernel("delete interface", name)(error)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Takes what the guard of bridges knows of `ifname` out of it. Without nf_tables in the kernel it knows
/// nothing.
pub(crate) fn forget_any_port(ifname: &str) -> Result<(), Error> {
    match Nft::open().and_then(|nft| bridge::forget_any(&nft, ifname)) {
        Err(error) if nft::is_lacking(&error) || error::is(&error, Errno::EINVAL) => Ok(()),
        done => forgotten(ifname, done),
    }
}

fn forgotten(ifname: &str, done: io::Result<()>) -> Result<(), Error> {
    done.map_err(Error::kernel("remove from nftables table bridge tripod port", ifname))
}

fn is_absence(error: &io::Error) -> bool {
    error::is(error, Errno::ENODEV)
}
