//! Device ids: readable, stable, at most 63 bytes with any replica suffix.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::limits;
use crate::device::{Device, Found};

/// Room that the longest replica suffix takes.
const SUFFIX: usize = "::65535".len();
const MAX_BASE: usize = limits::MAX_ID - SUFFIX;
const HASH: usize = 8;

/// Gives ids to the devices of one scan that have none yet. Which they get does not depend on the order in
/// which they are looked at, so a restart that finds the same devices finds the same ids again, but for one:
/// a device that was listed before another came that wants the same id keeps it until the restart, which
/// gives both another. None of them then has an id that was the other's.
#[derive(Debug)]
pub(super) struct Ids {
    taken: HashSet<String>,
    /// How many devices of the scan want an id.
    wanted: HashMap<String, usize>,
}

impl Ids {
    pub(super) fn new(previous: &[Device], found: &[Found]) -> Ids {
        let mut wanted = HashMap::new();
        for found in found {
            *wanted.entry(found.id.clone()).or_default() += 1;
        }
        Ids { taken: previous.iter().map(|device| device.id.clone()).collect(), wanted }
    }

    /// The id of the device `key`: `wanted` where that is short enough, and neither taken nor wanted by
    /// another, else its beginning and a hash of the key.
    pub(super) fn give(&mut self, wanted: &str, key: &str) -> String {
        let alone = self.wanted.get(wanted).is_none_or(|count| *count == 1);
        let id = if wanted.len() <= MAX_BASE && alone && !self.taken.contains(wanted) {
            wanted.to_owned()
        } else {
            self.hashed(wanted, key)
        };
        self.taken.insert(id.clone());
        id
    }

    /// So few digits can be the same of two keys, and a device may want any id.
    fn hashed(&self, wanted: &str, key: &str) -> String {
        let mut text = key.to_owned();
        loop {
            let id = with_hash(wanted, &text);
            if !self.taken.contains(&id) && !self.wanted.contains_key(&id) {
                return id;
            }
            text.push('+');
        }
    }
}

fn with_hash(wanted: &str, text: &str) -> String {
    let room = MAX_BASE - HASH - 1;
    let end = (0..=room.min(wanted.len())).rev().find(|&end| wanted.is_char_boundary(end)).unwrap_or(0);
    format!("{}-{}", wanted.get(..end).unwrap_or_default(), hash8(text))
}

/// The id of replica `replica` of a device that `count` containers may share.
pub(super) fn replica_id(id: &str, replica: u32, count: u32) -> String {
    if count == 1 { id.to_owned() } else { format!("{id}::{replica}") }
}

/// The first eight hexadecimal digits of the SHA-256 of `text`.
pub(crate) fn hash8(text: &str) -> String {
    Sha256::digest(text).iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{devices, found};
    use super::*;
    use crate::device::Kind;

    #[test]
    fn a_short_free_id_is_used_as_it_is() {
        let mut ids = Ids::new(&[], &[found("/dev/serial/by-id/usb-X")]);
        assert_eq!(ids.give("serial-by-id-usb-X", "/dev/serial/by-id/usb-X"), "serial-by-id-usb-X");
    }

    #[test]
    fn a_taken_id_is_told_apart_by_the_key() {
        let mut ids = Ids::new(&devices(&["/dev/a-b"]), &[found("/dev/a/b")]);
        assert_eq!(ids.give("a-b", "/dev/a/b"), format!("a-b-{}", hash8("/dev/a/b")));
    }

    #[test]
    fn an_id_with_a_hash_is_not_what_another_wants() {
        let other = Found::new(Kind::Path, "other", format!("a-b-{}", hash8("/dev/a/b")));
        let mut ids = Ids::new(&[], &[found("/dev/a/b"), found("/dev/a-b"), other.clone()]);
        assert_eq!(ids.give("a-b", "/dev/a/b"), format!("a-b-{}", hash8("/dev/a/b+")));
        assert_eq!(ids.give(&other.id, &other.key), other.id);
    }

    #[test]
    fn the_hash_is_that_of_sha256() {
        assert_eq!(hash8("abc"), "ba7816bf");
    }

    proptest! {
        #[test]
        fn an_id_fits_with_the_longest_replica_suffix(wanted in ".{1,200}") {
            let id = Ids::new(&[], &[]).give(&wanted, &wanted);
            prop_assert!(replica_id(&id, limits::MAX_COUNT, limits::MAX_COUNT).len() <= limits::MAX_ID);
        }
    }
}
