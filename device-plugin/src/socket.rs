//! Sockets in the device plugin directory: ours, the kubelet's, and telling them from later ones of
//! the same name.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::net::UnixListener;

use crate::config::resource_name::ResourceName;
use crate::inventory::hash8;
use crate::registration::Way;

/// The kubelet's registration socket.
const KUBELET: &str = "kubelet.sock";
const PREFIX: &str = "tripod-";
/// What the name of a socket that introduces itself ends in.
const WATCHED: &str = "-reg.sock";
const PLAIN: &str = ".sock";
/// `tripod-`, eight digits, `-`, eight digits, `-reg.sock`.
const NAME_LENGTH: usize = 33;
/// `sun_path` holds 108 bytes, the last of which is zero.
const MAX_PATH: usize = 107;
const MAX_DIR: usize = MAX_PATH - NAME_LENGTH - 1;

/// The kubelet's device plugin directory.
#[derive(Clone, Debug)]
pub struct PluginDir(String);

/// Why a directory cannot be the device plugin directory.
#[derive(Debug, thiserror::Error)]
pub enum PluginDirError {
    /// A socket in it would have too long a path.
    #[error("the device plugin directory {0} is too long for Unix sockets: at most {MAX_DIR} bytes fit")]
    TooLong(String),
    /// Its path is not UTF-8.
    #[error("the device plugin directory {0} is not a UTF-8 path")]
    NotText(PathBuf),
}

/// What tells one socket from another that later has the same path. Inode numbers are reused, so the
/// time of birth counts too, where the filesystem knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketIdentity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl SocketIdentity {
    /// The socket at `path` now; `None` when there is none or it cannot be seen.
    pub fn inspect(path: &Path) -> Option<SocketIdentity> {
        let metadata = path.symlink_metadata().ok().filter(|m| m.file_type().is_socket())?;
        Some(SocketIdentity { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() })
    }
}

impl PluginDir {
    /// Takes `path` as the directory, which need not exist yet.
    pub fn new(path: &Path) -> Result<PluginDir, PluginDirError> {
        let text = path.to_str().ok_or_else(|| PluginDirError::NotText(path.to_owned()))?;
        if text.len() > MAX_DIR {
            return Err(PluginDirError::TooLong(text.to_owned()));
        }
        Ok(PluginDir(text.to_owned()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Where the kubelet listens for registrations.
    pub fn kubelet_socket(&self) -> String {
        format!("{}/{KUBELET}", self.0)
    }

    /// The socket the kubelet listens on now.
    pub fn kubelet(&self) -> Option<SocketIdentity> {
        SocketIdentity::inspect(Path::new(&self.kubelet_socket()))
    }

    /// Removes sockets that an earlier run of this program left behind, and returns their names. A socket
    /// on which something still answers belongs to another running instance and stays.
    pub fn sweep(&self) -> io::Result<Vec<String>> {
        let mut removed = Vec::new();
        for entry in self.path().read_dir()? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_ours(name)).map(str::to_owned)
            else {
                continue;
            };
            let refused = UnixStream::connect(entry.path())
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if refused {
                std::fs::remove_file(entry.path())?;
                removed.push(name);
            }
        }
        Ok(removed)
    }
}

/// A bound socket of ours. Its name is new each time: kubelets tell instances of a plugin apart by it.
#[derive(Debug)]
pub struct Endpoint {
    path: PathBuf,
    name: String,
    identity: Option<SocketIdentity>,
}

impl Endpoint {
    /// Binds a socket for `resource` in `dir`, to be registered in this `way`.
    pub fn bind(dir: &PluginDir, resource: &ResourceName, way: Way) -> io::Result<(Endpoint, UnixListener)> {
        let ending = match way {
            Way::Classic => PLAIN,
            Way::Watcher => WATCHED,
        };
        let name = format!("{PREFIX}{}-{}{ending}", hash8(resource.as_str()), unique());
        let path = dir.path().join(&name);
        let listener = UnixListener::bind(&path)?;
        let identity = SocketIdentity::inspect(&path);
        Ok((Endpoint { path, name, identity }, listener))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its file name, which is what the kubelet wants to be told.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the kubelet can still find it.
    pub fn is_present(&self) -> bool {
        let now = SocketIdentity::inspect(&self.path);
        now.is_some() && now == self.identity
    }

    /// Removes it, unless something else has taken its place. Absence is success.
    pub fn remove(&self) -> io::Result<()> {
        if self.is_present() { std::fs::remove_file(&self.path) } else { Ok(()) }
    }
}

fn is_ours(name: &str) -> bool {
    let digits = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(WATCHED).or_else(|| rest.strip_suffix(PLAIN)))
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(hash, unique)| digits(hash) && digits(unique))
}

/// Eight digits that no earlier process used: in a container every run has the same process id.
fn unique() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("{:08x}", random & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_form_are_ours() {
        assert!(is_ours("tripod-0123abcd-89efcdab.sock"));
        assert!(is_ours("tripod-0123abcd-89efcdab-reg.sock"));
        for name in
            ["kubelet.sock", "tripod-nvidia.sock", "tripod-0123abcd-89efcda.sock", "tripod-0123abcd-89efcdab"]
        {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_sweep_removes_what_nobody_answers_on_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let dir = PluginDir::new(folder.path()).unwrap();
        let resource = ResourceName::parse("example.com/x").unwrap();
        let (stale, listener) = Endpoint::bind(&dir, &resource, Way::Classic).unwrap();
        drop(listener);
        let (live, _listener) = Endpoint::bind(&dir, &resource, Way::Classic).unwrap();
        std::fs::write(folder.path().join("kubelet_internal_checkpoint"), "{}").unwrap();
        assert_eq!(dir.sweep().unwrap(), [stale.name().to_owned()]);
        assert!(live.is_present() && !stale.is_present());
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_socket_bound_again_under_the_same_path_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubelet.sock");
        let first = UnixListener::bind(&path).unwrap();
        let before = SocketIdentity::inspect(&path);
        assert!(before.is_some());
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        assert_ne!(SocketIdentity::inspect(&path), before);
    }

    #[test]
    fn a_directory_whose_sockets_would_have_too_long_a_path_is_refused() {
        assert!(PluginDir::new(Path::new(&"x".repeat(73))).is_ok());
        let error = PluginDir::new(Path::new(&"x".repeat(74))).unwrap_err();
        assert!(error.to_string().ends_with("at most 73 bytes fit"), "{error}");
    }
}
