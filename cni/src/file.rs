//! Opening files in places where others may have left anything.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// For files of our own: a link is refused, since it leads elsewhere, and a FIFO, whose other end may never
/// be there, is not waited for. What is created is for nobody else.
pub(crate) fn options() -> OpenOptions {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(flags.bits());
    options
}

/// The first `limit` bytes of a file of an admin's, who may name it by a link.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::errno::Errno;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::error;

    #[test]
    fn nothing_is_waited_for_and_only_an_admins_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [fifo, link, file] = ["fifo", "link", "file"].map(|name| folder.path().join(name));
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&link, 3).unwrap(), b"tex");
        for path in [fifo.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert!(read(path, 3).unwrap_err().to_string().contains("no file"), "{path:?}");
        }
        let errno = |path: &Path| options().write(true).create(true).open(path).unwrap_err();
        assert!(error::is(&errno(&fifo), Errno::ENXIO) && error::is(&errno(&link), Errno::ELOOP));
    }
}
