//! The image's root folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, failed};

/// Files by path below the root, in order of path, so that the image comes out the same each time.
#[derive(Debug, Default)]
pub(crate) struct Root {
    files: BTreeMap<PathBuf, Content>,
}

/// A file's bytes and permission bits.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
}

impl Root {
    /// Takes the file `source` as `path`.
    pub(crate) fn add(&mut self, path: PathBuf, source: &Path, mode: u32) -> Result<(), Error> {
        let bytes = fs::read(source).map_err(failed("read", source))?;
        self.insert(path, Content { bytes, mode });
        Ok(())
    }

    pub(crate) fn insert(&mut self, path: PathBuf, content: Content) {
        let below = path.strip_prefix("/").map(Path::to_owned).unwrap_or(path);
        self.files.insert(below, content);
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &Content)> {
        self.files.iter().map(|(path, content)| (path.as_path(), content))
    }

    /// Path and size in bytes of each file.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.files().map(|(path, content)| (path, content.bytes.len().try_into().unwrap_or(u64::MAX)))
    }

    /// Size of all files in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.sizes().map(|(_, size)| size).sum()
    }

    /// Makes `folder` hold these files and no others.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(failed("empty", folder))?;
        }
        for (path, content) in self.files() {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
            fs::write(&path, &content.bytes).map_err(failed("write", &path))?;
            let mode = fs::Permissions::from_mode(content.mode);
            fs::set_permissions(&path, mode).map_err(failed("set the mode of", &path))?;
        }
        Ok(())
    }
}
