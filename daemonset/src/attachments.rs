//! What the node's pods have in nf_tables besides the base table: their host ports, and what the guard of
//! bridges knows of them; and the ways that lead to them. The plugin makes all of it and notes it in attachment
//! records; once somebody flushed it, it comes back from there. What stands for a pod that is gone is released.

use std::path::Path;
use std::time::Duration;

use tripod_cni::nft::Nft;
use tripod_cni::record::{Entry, Record, Records, WayToPod};
use tripod_cni::{Dirs, Error};

use crate::orphans::Orphans;
use crate::standing::{Difference, Standing};

/// The attachments of this node, and which of them could not be restored at the last look.
#[derive(Debug)]
pub struct Attachments {
    lost: Standing<String>,
    orphans: Orphans,
}

/// Where the plugin keeps its state below `state`.
pub fn dirs(state: &Path) -> Dirs {
    Dirs { attachments: state.join("attachments"), leases: state.join("ipam") }
}

impl Attachments {
    /// Nothing was looked at yet; see [`Orphans::new`] for the grace.
    pub fn new(orphan_grace: Duration) -> Self {
        Self { lost: Standing::default(), orphans: Orphans::new(orphan_grace) }
    }

    /// Puts back what attachments with a record below `state` lost. One that cannot be restored is told,
    /// and is in no other's way: the node goes on taking new pods. Returns the ways to those pods that have
    /// one of their own.
    pub fn restore(&mut self, state: &Path) -> Vec<WayToPod> {
        let dirs = dirs(state);
        let records = Records::new(dirs.attachments.clone());
        let (ways, lost) = match records.list() {
            Ok(entries) => {
                self.orphans.collect(&dirs, entries.iter().filter_map(whole));
                (entries.iter().filter_map(way).collect(), restore(&records, entries))
            }
            Err(error) => (Vec::new(), vec![error.in_one_line()]),
        };
        let Difference { come, gone } = self.lost.replace(lost);
        for error in come {
            tracing::error!(error, "cannot restore an attachment; trying again");
        }
        for error in gone {
            tracing::info!(error, "this does not stop the restoring of an attachment any more");
        }
        ways
    }
}

fn whole(entry: &Result<Entry, Error>) -> Option<&Record> {
    match entry {
        Ok(Entry::Whole(record)) => Some(record),
        _ => None,
    }
}

fn way(entry: &Result<Entry, Error>) -> Option<WayToPod> {
    whole(entry).and_then(Record::way_to_pod)
}

/// Tells what it restored, and returns what it could not.
fn restore(records: &Records, entries: Vec<Result<Entry, Error>>) -> Vec<String> {
    if entries.is_empty() {
        return Vec::new();
    }
    match Nft::open() {
        Ok(nft) => {
            let failures = entries.into_iter().filter_map(|entry| look(&nft, records, entry).err());
            failures.map(|error| error.in_one_line()).collect()
        }
        Err(error) => vec![format!("cannot open a socket to nf_tables: {error}")],
    }
}

fn look(nft: &Nft, records: &Records, entry: Result<Entry, Error>) -> Result<(), Error> {
    // What cannot be read says nothing; GC reports it, or removes it where nothing is left of it.
    let Entry::Whole(record) = entry? else { return Ok(()) };
    if tripod_cni::restore(nft, records, &record)? {
        tracing::info!(
            pod = record.pod,
            container = record.container_id,
            interface = record.ifname,
            "restored what the attachment lost in nf_tables"
        );
    }
    Ok(())
}
