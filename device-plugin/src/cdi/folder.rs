//! The folder that runtimes read specs from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::spec::Spec;
use crate::inventory::hash8;

const PREFIX: &str = "tripod-";
const SUFFIX: &str = ".json";
/// Largest file that is taken for one of ours.
const MAX_FILE: u64 = 16 * 1024 * 1024;

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
        for (name, spec) in named(specs) {
            let path = self.0.join(name);
            if let Err(source) = replace(&path, spec) {
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
            let kind = is_ours(&name).then(|| kind_in(&entry.path())).flatten();
            if kind.is_some_and(|kind| file_names(&kind).contains(&name) && !wanted(&kind)) {
                fs::remove_file(entry.path())?;
                removed.push(name);
            }
        }
        Ok(removed)
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

fn named(specs: &[Spec]) -> Vec<(String, &Spec)> {
    let mut taken = BTreeSet::new();
    let mut named = Vec::new();
    for spec in specs {
        let [plain, hashed] = file_names(spec.kind());
        let name = if taken.insert(plain.clone()) { plain } else { hashed };
        named.push((name, spec));
    }
    named
}

/// Another process must never see half a file, and a runtime that watches the folder no change where
/// nothing changed.
fn replace(path: &Path, spec: &Spec) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(spec)?;
    if fs::read(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Runtimes read only names that end in .json or .yaml.
    let temporary = path.with_extension("json.tmp");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

fn kind_in(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    Some(document.get("kind")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
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
}
