//! Folders of `/sys`: one for each thing that the kernel knows of, with a file for each of its attributes.

use std::collections::BTreeSet;

use crate::hostroot::HostRoot;
use crate::inventory::limits;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Folder<'a> {
    root: &'a HostRoot,
    path: String,
}

impl<'a> Folder<'a> {
    pub(super) fn new(root: &'a HostRoot, path: impl Into<String>) -> Folder<'a> {
        Folder { root, path: path.into() }
    }

    pub(super) fn below(&self, name: &str) -> Folder<'a> {
        Folder { root: self.root, path: format!("{}/{name}", self.path) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Names in it that begin with `prefix`, sorted. It may be a link, which is followed as the host would.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let real = self.root.resolve(&self.path);
        let names = real.and_then(|path| self.root.names(&path).ok()).unwrap_or_default();
        names.into_iter().filter(|name| name.starts_with(prefix)).take(limits::MAX_FOUND).collect()
    }

    /// Folders in it whose names begin with `prefix`, each with the rest of its name, which must be a number as
    /// the kernel writes them; ordered by that.
    pub(super) fn numbered(&self, prefix: &str) -> Vec<(u32, Folder<'a>)> {
        let number = |name: String| {
            let digits = name.strip_prefix(prefix)?;
            let number: u32 = digits.parse().ok()?;
            (number.to_string() == digits).then(|| (number, self.below(&name)))
        };
        let mut numbered: Vec<_> = self.names(prefix).into_iter().filter_map(number).collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered
    }

    /// An attribute's text, `None` when there is none. The error is for a person, as the following ones'.
    pub(super) fn text(&self, attribute: &str) -> Result<Option<String>, String> {
        let path = format!("{}/{attribute}", self.path);
        self.root.attribute(&path).map_err(|error| format!("cannot read {path}: {error}"))
    }

    /// An attribute's text as `read` understands it, which is `what`.
    pub(super) fn read<T>(
        &self,
        attribute: &str,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.text(attribute)? else { return Ok(None) };
        let value = read(&text).ok_or_else(|| format!("{}/{attribute} says {text:?}, no {what}", self.path));
        value.map(Some)
    }

    pub(super) fn number(&self, attribute: &str) -> Result<Option<u64>, String> {
        self.read(attribute, "number", |text| text.parse().ok())
    }
}

/// What was read; of what went wrong `faults` is told, with what `follows` from it.
pub(super) fn noted<T>(
    outcome: Result<Option<T>, String>,
    faults: &mut BTreeSet<String>,
    follows: &str,
) -> Option<T> {
    outcome.unwrap_or_else(|fault| {
        faults.insert(format!("{fault}: {follows}"));
        None
    })
}
