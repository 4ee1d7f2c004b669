//! DEL: undo an attachment by its record, or by name where the record is lost. Needs no namespace, no
//! valid ranges and no agent; what is gone already is no failure.

use super::Node;
use crate::config::Outline;
use crate::error::Error;
use crate::ipam::store::Owner;
use crate::journal::Journal;
use crate::record::Record;
use crate::spec::Args;

/// Only where the record is lost it matters what the configuration says, and so whether it can be read.
pub(super) fn run(
    args: &Args,
    outline: impl FnOnce() -> Result<Outline, Error>,
    node: &Node,
) -> Result<(), Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let _held = node.records.hold_to_undo(&owner)?;
    let journal = match node.records.load(&owner)? {
        Some(record) => Journal::of_attachment(record),
        // It holds no addresses and no ports, so the store and the table are searched for the owner, or
        // the plugin asked.
        None => {
            let outline = outline()?;
            let netns = args.netns.clone().unwrap_or_default();
            let lost = Record::lost(&owner, &outline.name, &outline.store);
            let record = Record { netns, chained: outline.is_chained(), ..lost };
            // One that is not there gave nothing: ADD asks for it first.
            let plugin = outline.plugin.as_deref().filter(|plugin| node.plugins.find(plugin).is_ok());
            Journal::of_lost_record(record.delegated_to(plugin))
        }
    };
    journal.rollback(node)
}

/// Undoes the ADD of `args`, as DEL would, where it left a record.
pub(super) fn recorded(args: &Args, node: &Node) -> Result<(), Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let _held = node.records.hold_to_undo(&owner)?;
    match node.records.load(&owner)? {
        Some(record) => Journal::of_attachment(record).rollback(node),
        None => Ok(()),
    }
}
