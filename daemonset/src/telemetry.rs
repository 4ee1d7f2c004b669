//! What other programs of Tripod say about each of their calls, by datagrams to a socket in the agent's state
//! folder that only root can write to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::{sleep, timeout};
use tripod_cni::telemetry::{LONGEST, Report, SOCKET};

use crate::observer::Observer;

/// How often to look whether the socket is still there, or can be made now.
const LOOK: Duration = Duration::from_secs(2);

/// Listens in folder `state` for ever, as soon as it is there.
pub async fn listen(state: PathBuf, observer: Arc<Observer>) {
    let path = state.join(SOCKET);
    let mut complaint = None;
    loop {
        match bind(&path) {
            Ok((socket, inode)) => {
                complaint = None;
                hear(&socket, &observer, || inode_of(&path) == Some(inode)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = error.to_string();
                if complaint.as_ref() != Some(&error) {
                    tracing::warn!(path = %path.display(), error, "cannot listen for reports; trying again");
                }
                complaint = Some(error);
            }
        }
        sleep(LOOK).await;
    }
}

/// Nobody but root finds it under its name: it gets its mode before that.
fn bind(path: &Path) -> io::Result<(UnixDatagram, u64)> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    let inode = fs::symlink_metadata(&new)?.ino();
    fs::rename(&new, path)?;
    Ok((socket, inode))
}

fn inode_of(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}

/// Reads as long as the socket has its name.
async fn hear(socket: &UnixDatagram, observer: &Observer, has_name: impl Fn() -> bool) {
    let mut buffer = [0; LONGEST + 1];
    loop {
        match timeout(LOOK, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => take(buffer.get(..length).unwrap_or_default(), observer),
            Ok(Err(error)) => return tracing::debug!(%error, "reports are not read"),
            Err(_elapsed) if has_name() => {}
            Err(_elapsed) => return,
        }
    }
}

fn take(datagram: &[u8], observer: &Observer) {
    match serde_json::from_slice::<Report>(datagram) {
        Ok(report) if datagram.len() <= LONGEST => observer.hear(&report),
        _ => observer.metrics.drop_report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_short_is_counted() {
        let observer = Observer::new("n1", Path::new("/nowhere"), None);
        let good = r#"{"v":1,"leg":"cni","op":"ADD","result":"ok","code":0,"ms":2}"#;
        for text in [
            good.to_owned(),
            good.replace("}", r#","pod":"web"}"#),
            good.replace("ADD", "MUL"),
            good.replace(":1,", ":2,"),
            format!("{good}{}", " ".repeat(LONGEST)),
            String::new(),
        ] {
            take(text.as_bytes(), &observer);
        }
        let text = observer.scrape();
        assert!(text.contains(r#"op="ADD",result="ok",code="0"} 1"#), "{text}");
        assert!(text.contains("tripod_telemetry_dropped_total 5"), "{text}");
    }

    #[tokio::test]
    async fn only_root_can_write_to_the_socket_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let (_stale, first) = bind(&path).unwrap();
        let (_socket, second) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first != second && inode_of(&path) == Some(second));
    }
}
