//! What a flush of nf_tables took from an attachment, put back by its record. An ADD makes what is its own
//! alone; for the pods that were there before, the node agent asks here.

use nix::net::if_::if_nametoindex;

use crate::datapath::ports;
use crate::error::Error;
use crate::nft::{Nft, bridge};
use crate::record::{Record, Records, Stage};

/// Puts back the host ports and the guarded bridge port of the attachment that `listed` is about, where
/// they are lost. Says whether it had to. While a call is at work on the attachment nothing is done: an
/// ADD makes it whole, and what is put back behind a DEL's back would stay for ever.
pub fn restore(nft: &Nft, records: &Records, listed: &Record) -> Result<bool, Error> {
    let owner = listed.owner();
    if listed.host_ports.is_empty() && listed.port.is_none() {
        return Ok(false);
    }
    let Some(_held) = records.try_hold(&owner)? else { return Ok(false) };
    // What was listed before the attachment was held may be another one by now, or none.
    let record = records.load(&owner)?.filter(|record| record.stage == Stage::Complete && is_linked(record));
    let Some(record) = record else { return Ok(false) };
    // First what protects others from the pod, whatever becomes of its ports.
    let guarded = restore_guard(nft, &record)?;
    Ok(ports::restore(nft, &record, records)? || guarded)
}

fn restore_guard(nft: &Nft, record: &Record) -> Result<bool, Error> {
    const TABLE: &str = "nftables table bridge tripod";
    let Some(guarded) = record.guarded() else { return Ok(false) };
    if bridge::is_whole(nft, &guarded).map_err(Error::kernel("look at", TABLE))? {
        return Ok(false);
    }
    // The other ports are restored by their own records, each when no call is at work on it.
    bridge::guard(nft, &guarded, Vec::new).map_err(Error::kernel("restore the guard in", TABLE))?;
    Ok(true)
}

/// Whether the host end is there. One that is gone is of a pod that is gone, or of a DEL that could not
/// end: its ports are free for others.
fn is_linked(record: &Record) -> bool {
    record.host_ifname.is_empty() || if_nametoindex(record.host_ifname.as_str()).is_ok()
}
