//! The name of an attachment that fits into an interface's name.

use std::path::Path;

use crate::fingerprint;
use crate::ipam::store::Owner;

const HASH_LENGTH: usize = 13;

/// Thirteen hexadecimal digits that stand for an attachment: in the host end's name, of which the
/// kernel allows 15 bytes, and in the record's.
pub fn attachment_hash(owner: &Owner<'_>) -> String {
    let number = fingerprint::of(&[owner.container_id.as_bytes(), owner.ifname.as_bytes()]);
    format!("{:0HASH_LENGTH$x}", number >> (64 - 4 * HASH_LENGTH))
}

/// The hash in a record's name; none for a file that is no record.
pub(super) fn hash_of(path: &Path) -> Option<String> {
    let hash = path.file_stem()?.to_str()?;
    let is_hash = hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_ours = matches!(path.extension()?.to_str()?, "json" | "tmp");
    (is_hash && is_ours).then(|| hash.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_the_container_from_the_interface() {
        let hash = |container_id, ifname| attachment_hash(&Owner { container_id, ifname });
        // Other releases must find it too.
        assert_eq!(hash("c1", "eth0"), "2c47b409b3838");
        assert_ne!(hash("c1", "eth0"), hash("c1e", "th0"));
    }
}
