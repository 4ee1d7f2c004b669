//! The loader and the libraries of a dynamic program, as this machine has them.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::elf::{self, ElfError, Header};

/// Where the loaders of the usual distributions look without being told.
const FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// A library that is nowhere to be found.
#[derive(Debug, thiserror::Error)]
#[error("{program:?} needs {name}, which is in none of {}", FOLDERS.join(", "))]
pub struct MissingLibrary {
    program: PathBuf,
    name: String,
}

/// Paths of the loader and of every library that `program` or another of them needs, in order of name.
/// A library keeps its path, at which the loader looks for it.
pub(crate) fn closure(program: &Path, header: &Header) -> Result<BTreeSet<PathBuf>, crate::Error> {
    let mut found = BTreeSet::new();
    let mut waiting: VecDeque<_> = [(program.to_owned(), header.clone())].into();
    while let Some((path, header)) = waiting.pop_front() {
        found.extend(header.interpreter);
        for name in header.needed.iter().filter(|name| !is_loader(name)) {
            let library =
                find(name).ok_or_else(|| MissingLibrary { program: path.clone(), name: name.clone() })?;
            if found.insert(library.clone()) {
                waiting.push_back((library.clone(), read(&library)?));
            }
        }
    }
    Ok(found)
}

/// The loader is also named as a library; the program names it by its path.
fn is_loader(name: &str) -> bool {
    name.starts_with("ld-linux")
}

fn read(library: &Path) -> Result<Header, ElfError> {
    // libc names a loader as well, for those who execute it.
    Ok(Header { interpreter: None, ..elf::read(library)? })
}

fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_needs_its_loader_and_libc() {
        let shell = Path::new("/bin/sh");
        let found = closure(shell, &elf::read(shell).unwrap()).unwrap();
        let ends = |end: &str| found.iter().any(|path| path.to_string_lossy().ends_with(end));
        assert!(ends("/ld-linux-x86-64.so.2") && ends("/libc.so.6"), "{found:?}");
    }

    #[test]
    fn a_missing_library_is_told_with_who_needs_it() {
        let header = Header { interpreter: None, needed: vec!["libnowhere.so.1".into()] };
        let error = closure(Path::new("/prog"), &header).unwrap_err().to_string();
        assert!(error.starts_with("\"/prog\" needs libnowhere.so.1, which is in none of /lib"), "{error}");
    }
}
