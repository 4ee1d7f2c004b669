//! Who owns what is installed, and who else may change it: root executes it, or does what it says.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use tripod_cni::finding::Finding;

use crate::cli::Doctor;
use crate::plan::{CNI_PLUGIN, CONFIGS, CREDENTIAL_PROVIDER, IPAM, LOOPBACK};
use crate::processes;
use crate::state;
use crate::wireguard_key;

const CHECK: &str = "files";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Others execute it.
    Program,
    /// Others read it.
    Config,
    /// Only root reads it.
    Private,
}

/// Looks at every place that can be seen from here.
pub(super) fn findings(flags: &Doctor) -> Vec<Finding> {
    let enforcing = is_enforcing(&flags.host_root);
    let mut findings = Vec::new();
    for (folder, files) in places(flags) {
        findings.extend(of_folder(&folder, &files, enforcing));
    }
    findings.extend(plugin(&flags.cni_bin_dir));
    findings.extend(unseen(places(flags).into_iter().map(|(folder, _)| folder)));
    findings
}

/// One line for all folders that are not there, as in a container that does not mount them.
fn unseen(folders: impl Iterator<Item = PathBuf>) -> Option<Finding> {
    let unseen: Vec<String> =
        folders.filter(|folder| !folder.is_dir()).map(|folder| folder.display().to_string()).collect();
    let fix = "ask the container that has them: kubectl -n tripod-system exec ds/tripod -c files -- /tripod-node doctor \
        --only files; or run the doctor on the node itself";
    (!unseen.is_empty()).then(|| Finding::ok(CHECK, unseen.join(", "), "cannot be seen from here").fix(fix))
}

fn places(flags: &Doctor) -> Vec<(PathBuf, Vec<(String, Kind)>)> {
    let named =
        |names: &[&str], kind| names.iter().map(|name| ((*name).to_owned(), kind)).collect::<Vec<_>>();
    let conflist = flags.conflist.file_name().map(|name| (name.to_string_lossy().into_owned(), Kind::Config));
    let runtimes = flags.conflist.parent().unwrap_or(Path::new("/")).to_owned();
    vec![
        (flags.cni_bin_dir.clone(), named(&[CNI_PLUGIN, IPAM, LOOPBACK], Kind::Program)),
        (flags.credential_bin_dir.clone(), named(&[CREDENTIAL_PROVIDER], Kind::Program)),
        (flags.etc_dir.clone(), named(&CONFIGS, Kind::Config)),
        (runtimes, conflist.into_iter().collect()),
        (flags.state_dir.clone(), named(&[state::FILE, wireguard_key::FILE, "agent.sock"], Kind::Private)),
    ]
}

/// One line for a folder in which all is well, and none for one that is not there.
fn of_folder(folder: &Path, files: &[(String, Kind)], enforcing: bool) -> Vec<Finding> {
    let Ok(metadata) = fs::metadata(folder) else { return Vec::new() };
    let mut findings = Vec::from_iter(owned(folder, &metadata, Kind::Config));
    let mut seen = Vec::new();
    for (name, kind) in files {
        let path = folder.join(name);
        match fs::metadata(&path) {
            Ok(metadata) => {
                seen.push(described(name, &path, &metadata, enforcing));
                findings.extend(owned(&path, &metadata, *kind));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                findings.push(Finding::warn(CHECK, path.display(), error.to_string()).fix("run as root"))
            }
        }
    }
    if findings.is_empty() {
        let seen = if seen.is_empty() { "nothing of ours".to_owned() } else { seen.join(", ") };
        findings.push(Finding::ok(CHECK, folder.display(), seen));
    }
    findings
}

fn described(name: &str, path: &Path, metadata: &Metadata, enforcing: bool) -> String {
    let label = context(path).filter(|_| enforcing).map(|label| format!(" {label}")).unwrap_or_default();
    format!("{name} {:04o}{label}", metadata.mode() & 0o7777)
}

/// Nothing where only root may change it, and those who need it may read it.
fn owned(path: &Path, metadata: &Metadata, kind: Kind) -> Option<Finding> {
    let (mode, uid) = (metadata.mode() & 0o7777, metadata.uid());
    let is_sticky = metadata.is_dir() && mode & 0o1000 != 0;
    let told = |text: String, fix: String| Some(Finding::warn(CHECK, path.display(), text).fix(fix));
    let name = path.display();
    if uid != 0 {
        return told(
            format!("belongs to user {uid}, who may change what root executes or reads"),
            format!("chown root {name}"),
        );
    }
    if mode & 0o022 != 0 && !is_sticky {
        return told(format!("mode {mode:04o} lets others than root write it"), format!("chmod go-w {name}"));
    }
    match kind {
        Kind::Program if metadata.is_file() && mode & 0o111 == 0 => {
            told(format!("mode {mode:04o} lets nobody execute it"), format!("chmod 0755 {name}"))
        }
        Kind::Private if mode & 0o077 != 0 => {
            told(format!("mode {mode:04o} shows it to others than root"), format!("chmod 0600 {name}"))
        }
        _ => None,
    }
}

/// A folder of plugins that lacks ours is the end of every ADD.
fn plugin(folder: &Path) -> Option<Finding> {
    let path = folder.join(CNI_PLUGIN);
    if !folder.is_dir() || path.is_file() {
        return None;
    }
    let fix =
        "see the log of the containers install and files: kubectl -n tripod-system logs ds/tripod -c files";
    Some(
        Finding::fail(CHECK, path.display(), "is not there, and the runtime is to execute it for each pod")
            .fix(fix),
    )
}

/// Whether SELinux refuses what its policy does not allow.
fn is_enforcing(host: &Path) -> bool {
    processes::read(&host.join("sys/fs/selinux/enforce")).is_ok_and(|text| text.trim() == "1")
}

/// The label of a file, from `security.selinux`.
#[expect(unsafe_code, reason = "neither std nor nix reads extended attributes")]
fn context(path: &Path) -> Option<String> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let (name, mut value) = (c"security.selinux", [0_u8; 256]);
    // SAFETY: path and name end with a zero byte, and the kernel writes at most `value.len()` bytes to `value`.
    let length =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let label = value.get(..usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(label).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    use tripod_cni::finding::Severity;

    use super::*;

    #[test]
    fn what_others_may_change_or_nobody_may_execute_is_told_with_the_command_that_helps() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CNI_PLUGIN);
        fs::write(&path, "").unwrap();
        let told = |mode: u32, uid: u32, kind: Kind| {
            chown(&path, Some(uid), None).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = of_folder(folder.path(), &[(CNI_PLUGIN.to_owned(), kind)], false);
            let [finding] = &found[..] else { panic!("{found:?}") };
            (finding.severity, finding.fix.split(" /").next().unwrap_or_default().to_owned())
        };
        assert_eq!(told(0o755, 0, Kind::Program).0, Severity::Ok);
        assert_eq!(told(0o600, 0, Kind::Private).0, Severity::Ok);
        for (mode, uid, kind, fix) in [
            (0o755, 7, Kind::Program, "chown root"),
            (0o777, 0, Kind::Program, "chmod go-w"),
            (0o644, 0, Kind::Program, "chmod 0755"),
            (0o644, 0, Kind::Private, "chmod 0600"),
        ] {
            assert_eq!(told(mode, uid, kind), (Severity::Warn, fix.to_owned()), "{mode:04o} {kind:?}");
        }
    }

    #[test]
    fn the_key_of_wireguard_is_private() {
        use clap::Parser;

        let cli = crate::cli::Cli::parse_from(["tripod-node", "doctor", "--state-dir=/s"]);
        let crate::cli::Command::Doctor(flags) = cli.command else { panic!() };
        let (_, files) = places(&flags).into_iter().find(|(folder, _)| folder == Path::new("/s")).unwrap();
        assert!(files.contains(&("wireguard.key".to_owned(), Kind::Private)), "{files:?}");
    }

    #[test]
    fn a_folder_without_the_plugin_is_a_failure_and_one_that_cannot_be_seen_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(plugin(folder.path()).unwrap().severity, Severity::Fail);
        assert_eq!(plugin(&folder.path().join("nowhere")), None);
        let nowhere = folder.path().join("nowhere");
        assert_eq!(of_folder(&nowhere, &[], false), []);
        let found = unseen([nowhere, folder.path().to_owned()].into_iter()).unwrap();
        assert!(found.severity == Severity::Ok && found.fix.contains("-c files"), "{found}");
        assert!(found.object.ends_with("/nowhere"), "{found}");
        fs::write(folder.path().join(CNI_PLUGIN), "").unwrap();
        assert_eq!(plugin(folder.path()), None);
    }
}
