//! Device ids: readable, stable, at most 63 bytes with any replica suffix.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::limits;

/// Room that the longest replica suffix takes.
const SUFFIX: usize = "::65535".len();
const MAX_BASE: usize = limits::MAX_ID - SUFFIX;
const HASH: usize = 8;

/// The id of the device `key`: `wanted` where that is short enough and not taken, else its beginning
/// and a hash of the key. Depends on nothing but its arguments, so a restart finds the same id again.
pub(super) fn device_id(wanted: &str, key: &str, taken: &HashSet<String>) -> String {
    if wanted.len() <= MAX_BASE && !taken.contains(wanted) {
        return wanted.to_owned();
    }
    let room = MAX_BASE - HASH - 1;
    let end = (0..=room.min(wanted.len())).rev().find(|&end| wanted.is_char_boundary(end)).unwrap_or(0);
    format!("{}-{}", wanted.get(..end).unwrap_or_default(), hash8(key))
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

    use super::*;

    #[test]
    fn a_short_free_id_is_used_as_it_is() {
        assert_eq!(device_id("ttyUSB0", "/dev/ttyUSB0", &HashSet::new()), "ttyUSB0");
    }

    #[test]
    fn a_taken_id_is_told_apart_by_the_key() {
        let taken = HashSet::from(["a-b".to_owned()]);
        assert_eq!(device_id("a-b", "/dev/a/b", &taken), format!("a-b-{}", hash8("/dev/a/b")));
    }

    #[test]
    fn the_hash_is_that_of_sha256() {
        assert_eq!(hash8("abc"), "ba7816bf");
    }

    proptest! {
        #[test]
        fn an_id_fits_with_the_longest_replica_suffix(wanted in ".{1,200}") {
            let id = device_id(&wanted, &wanted, &HashSet::new());
            prop_assert!(replica_id(&id, limits::MAX_COUNT, limits::MAX_COUNT).len() <= limits::MAX_ID);
        }
    }
}
