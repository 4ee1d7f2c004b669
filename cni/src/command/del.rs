//! DEL: undo an attachment by its record, or by name where the record is lost. Needs no namespace, no
//! valid ranges and no agent; what is gone already is no failure.

use super::Node;
use crate::config::Outline;
use crate::datapath::host_ifname;
use crate::error::Error;
use crate::ipam::store::Owner;
use crate::journal::Journal;
use crate::record::{Record, Stage};
use crate::spec::Args;

pub(super) async fn run(args: &Args, outline: &Outline, node: &Node) -> Result<(), Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let record = match node.records.load(&owner)? {
        Some(record) => record,
        None => by_name(args, outline),
    };
    Journal::of_attachment(record).rollback(node).await
}

/// What the record would say if it were there: no addresses, so the store is searched for the owner.
fn by_name(args: &Args, outline: &Outline) -> Record {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    Record {
        v: 1,
        stage: Stage::Intent,
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        netns: args.netns.clone().unwrap_or_default(),
        network: outline.name.clone(),
        store: outline.store.clone(),
        host_ifname: host_ifname(&owner),
        addresses: Vec::new(),
        pod: None,
    }
}
