//! GC: release every attachment of this network that the runtime does not list. It goes on past
//! failures and reports them together.

use super::Node;
use crate::config::Outline;
use crate::error::Error;
use crate::journal::Journal;
use crate::record::Record;

pub(super) async fn run(outline: &Outline, node: &Node) -> Result<(), Error> {
    // Without the key nothing is known about what is valid, and so nothing may be taken away.
    let Some(valid) = outline.valid_attachments()? else { return Ok(()) };
    let is_stale = |record: &Record| {
        record.network == outline.name
            && !valid.iter().any(|(id, ifname)| *id == record.container_id && *ifname == record.ifname)
    };
    let mut failures = Vec::new();
    for record in node.records.list()? {
        match record {
            Ok(record) if is_stale(&record) => {
                failures.extend(Journal::of_attachment(record).rollback(node).await.err());
            }
            Ok(_) => {}
            Err(unreadable) => failures.push(unreadable),
        }
    }
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(only) if count == 1 => Err(only),
        Some(first) => Err(Error::Several { count, first: Box::new(first) }),
    }
}
