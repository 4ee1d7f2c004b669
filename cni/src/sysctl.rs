//! Kernel parameters under `/proc/sys/net`, which shows the namespace of the thread that looks.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::failpoint;

/// Kernel parameters of the network namespace that the thread is in.
pub const ROOT: &str = "/proc/sys/net";

/// Whether the kernel has `key`.
pub fn exists(root: &Path, key: &str) -> bool {
    root.join(key).exists()
}

/// Sets `key`, for example `ipv6/conf/eth0/accept_ra`, below `root` unless it has the value already.
/// A node without IPv6 has no `ipv6` tree; for keys of that family absence is success.
pub fn set(root: &Path, key: &str, value: &str) -> io::Result<()> {
    let path = root.join(key);
    match fs::read_to_string(&path) {
        Ok(current) if current.trim_end() == value => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && key.starts_with("ipv6/") => Ok(()),
        // A name, not a place: the file exists already, and no rename can replace it.
        _ => failpoint::step("write sysctl").and_then(|()| fs::write(path, value)),
    }
}

/// Writes `value` to the parameter at `path`, which must exist.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    // Not created: for a name that is missing the kernel would then answer EACCES.
    let mut file = File::options().write(true).open(path)?;
    failpoint::step("write sysctl")?;
    file.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_once_and_missing_ipv6_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("ipv4")).unwrap();
        fs::write(root.path().join("ipv4/ip_forward"), "0\n").unwrap();
        set(root.path(), "ipv4/ip_forward", "1").unwrap();
        assert_eq!(fs::read_to_string(root.path().join("ipv4/ip_forward")).unwrap(), "1");
        set(root.path(), "ipv6/conf/all/forwarding", "1").unwrap();
        set(root.path(), "missing/folder/key", "1").unwrap_err();
    }
}
