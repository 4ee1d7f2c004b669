//! The folder that runtimes read specs from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, io};

use super::file::{kind_in, replace};
use super::spec::Spec;
use crate::inventory::hash8;

const PREFIX: &str = "tripod-";
const SUFFIX: &str = ".json";

/// Writes and removes our files, and leaves those of others alone.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A spec that is not in the folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CDI spec {path}: make its folder writable, or use strategy device-specs")]
pub struct WriteError {
    path: String,
    source: io::Error,
}

impl Folder {
    /// The folder at `path`, which is made when there is something to write.
    pub fn new(path: impl Into<PathBuf>) -> Folder {
        Folder(path.into())
    }

    /// Makes `specs` what the folder says of their kinds: all at once for each kind, and not at all where it
    /// says so already. Returns what could not be written, by kind.
    pub fn write(&self, specs: &[Spec]) -> BTreeMap<String, WriteError> {
        let mut failed = BTreeMap::new();
        for (name, spec) in self.named(specs) {
            let path = self.0.join(&name);
            if let Err(source) = replace(&path, spec).and_then(|()| self.leave_one(spec.kind(), &name)) {
                let path = path.display().to_string();
                failed.insert(spec.kind().to_owned(), WriteError { path, source });
            }
        }
        failed
    }

    /// Removes our files of kinds that are not `wanted`; returns their names. A file that is no spec of
    /// ours, whatever its name, stays.
    pub fn sweep(&self, mut wanted: impl FnMut(&str) -> bool) -> io::Result<Vec<String>> {
        let entries = match self.0.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut removed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if self.kind_of(&name).is_some_and(|kind| !wanted(&kind)) {
                fs::remove_file(entry.path())?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// The files that `specs` belong in.
    fn named<'a>(&self, specs: &'a [Spec]) -> Vec<(String, &'a Spec)> {
        let mut taken = BTreeSet::new();
        specs.iter().map(|spec| (self.name(spec.kind(), &mut taken), spec)).collect()
    }

    /// A kind keeps the file it has: were it described in another first, or in none for a moment, a runtime
    /// that looks just then would not start a container. A plain name is free when no kind has it, be it
    /// one of those to be written or one that stays because containers hold its devices.
    fn name(&self, kind: &str, taken: &mut BTreeSet<String>) -> String {
        let [plain, hashed] = file_names(kind);
        let is_free = match self.kind_of(&plain) {
            Some(holder) => holder == kind,
            None => self.kind_of(&hashed).is_none() && !taken.contains(&plain),
        };
        let name = if is_free { plain } else { hashed };
        taken.insert(name.clone());
        name
    }

    /// Removes what else describes `kind` than the file `name`: of devices that two files define a runtime
    /// finds none.
    fn leave_one(&self, kind: &str, name: &str) -> io::Result<()> {
        for other in file_names(kind).iter().filter(|other| *other != name) {
            if self.kind_of(other).as_deref() == Some(kind) {
                fs::remove_file(self.0.join(other))?;
            }
        }
        Ok(())
    }

    /// The kind that the file `name` describes, if it is one of ours.
    fn kind_of(&self, name: &str) -> Option<String> {
        let kind = is_ours(name).then(|| kind_in(&self.0.join(name))).flatten()?;
        file_names(&kind).iter().any(|one| one == name).then_some(kind)
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// The plain name, and the one where another kind has that: `a-b/c` and `a/b-c`.
fn file_names(kind: &str) -> [String; 2] {
    let plain = kind.replace('/', "-");
    [format!("{PREFIX}{plain}{SUFFIX}"), format!("{PREFIX}{plain}-{}{SUFFIX}", hash8(kind))]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::resource_name::ResourceName;
    use crate::inventory::tests::devices;

    fn spec(resource: &str, paths: &[&str]) -> Spec {
        Spec::of(&ResourceName::parse(resource).unwrap(), &devices(paths)).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_did_not_change_is_not_written_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path().join("cdi"));
        let path = parent.path().join("cdi/tripod-example.com-serial.json");
        assert!(folder.write(&[spec("example.com/serial", &["/dev/a"])]).is_empty());
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&path);
        folder.write(&[spec("example.com/serial", &["/dev/a"])]);
        assert_eq!(inode(&path), first);
        folder.write(&[spec("example.com/serial", &["/dev/a", "/dev/b"])]);
        assert_ne!(inode(&path), first);
        assert_eq!(names(&parent.path().join("cdi")), ["tripod-example.com-serial.json"]);
    }

    #[test]
    fn a_sweep_removes_our_files_of_kinds_nobody_wants_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path());
        let specs =
            [spec("aa/bb-cc", &["/dev/a"]), spec("aa-bb/cc", &["/dev/b"]), spec("aa/dd", &["/dev/c"])];
        assert!(folder.write(&specs).is_empty());
        fs::write(parent.path().join("tripod-mine.json"), "{\"kind\": \"aa/dd\"}").unwrap();
        fs::write(parent.path().join("nvidia.json"), "{\"kind\": \"aa/dd\"}").unwrap();
        let hashed = format!("tripod-aa-bb-cc-{}.json", hash8("aa-bb/cc"));
        let mut removed = folder.sweep(|kind| kind == "aa/bb-cc").unwrap();
        removed.sort();
        assert_eq!(removed, [hashed.as_str(), "tripod-aa-dd.json"]);
        assert_eq!(names(parent.path()), ["nvidia.json", "tripod-aa-bb-cc.json", "tripod-mine.json"]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_by_kind() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cdi"), "").unwrap();
        let failed = Folder::new(parent.path().join("cdi")).write(&[spec("example.com/serial", &["/dev/a"])]);
        let error = &failed["example.com/serial"];
        assert!(error.to_string().contains("cdi/tripod-example.com-serial.json: make its folder"), "{error}");
    }

    const PLAIN: &str = "tripod-aa-bb-cc.json";

    fn hashed(kind: &str) -> String {
        format!("tripod-aa-bb-cc-{}.json", hash8(kind))
    }

    /// What the folder has, and the kind that each file describes.
    fn kinds(folder: &Path) -> Vec<(String, String)> {
        let names = names(folder).into_iter();
        names.map(|name| (name.clone(), kind_in(&folder.join(name)).unwrap())).collect()
    }

    #[test]
    fn no_kind_is_described_twice_when_the_one_with_its_plain_name_goes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path());
        let (first, second) = (spec("aa-bb/cc", &["/dev/a"]), spec("aa/bb-cc", &["/dev/b"]));
        folder.write(&[first.clone(), second.clone()]);
        folder.sweep(|kind| kind == "aa/bb-cc").unwrap();
        assert!(folder.write(std::slice::from_ref(&second)).is_empty());
        assert_eq!(kinds(parent.path()), [(hashed("aa/bb-cc"), "aa/bb-cc".to_owned())]);
        fs::copy(parent.path().join(hashed("aa/bb-cc")), parent.path().join(PLAIN)).unwrap();
        folder.write(&[second]);
        assert_eq!(kinds(parent.path()), [(PLAIN.to_owned(), "aa/bb-cc".to_owned())]);
    }

    #[test]
    fn a_kind_that_containers_still_hold_keeps_its_file() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path());
        folder.write(&[spec("aa-bb/cc", &["/dev/a"])]);
        folder.sweep(|_| true).unwrap();
        folder.write(&[spec("aa/bb-cc", &["/dev/b"])]);
        let both = [(hashed("aa/bb-cc"), "aa/bb-cc".to_owned()), (PLAIN.to_owned(), "aa-bb/cc".to_owned())];
        assert_eq!(kinds(parent.path()), both);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join(PLAIN)).unwrap();
        let failed = Folder::new(parent.path()).write(&[spec("aa/bb-cc", &["/dev/a"])]);
        assert_eq!((failed.len(), names(parent.path())), (1, vec![PLAIN.to_owned()]));
    }

    #[test]
    fn a_pipe_is_not_waited_at_and_a_link_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("spec.json");
        fs::write(&target, "{\"kind\": \"aa/dd\"}").unwrap();
        let folder = Folder::new(parent.path());
        std::os::unix::fs::symlink(&target, parent.path().join("tripod-aa-dd.json")).unwrap();
        for name in [PLAIN, "tripod-aa-bb-cc.json.tmp"] {
            nix::unistd::mkfifo(&parent.path().join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        assert!(folder.sweep(|_| false).unwrap().is_empty());
        let spec = spec("aa/bb-cc", &["/dev/a"]);
        assert_eq!(folder.write(std::slice::from_ref(&spec)).len(), 1, "nobody reads from the pipe");
        assert!(folder.write(&[spec]).is_empty(), "the pipe is gone");
        assert_eq!(kind_in(&parent.path().join(PLAIN)).as_deref(), Some("aa/bb-cc"));
    }
}
