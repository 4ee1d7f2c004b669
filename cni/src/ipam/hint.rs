//! The hint on disk: one file per range set beside its leases, found by the set's fingerprint, so that a
//! change of the ranges finds none. Whoever reads or writes it holds the folder's lock. Where it cannot
//! be written, the next search looks again at the leases, and nothing fails.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::failpoint;
use crate::file;
use crate::ipam::range::RangeSet;
use crate::ipam::taken::Taken;

/// What all hints' names begin with.
pub(super) const PREFIX: &str = ".taken.";

/// No container id begins like this, so host-local, which reads every file, takes it for nobody's lease.
const MAGIC: [u8; 8] = *b"tptake1\n";

/// Most hints kept in one folder: ranges that a runtime asks for per pod must not fill it.
pub(super) const MOST: usize = 32;

/// The hint of one range set.
#[derive(Debug)]
pub(super) struct Hint {
    path: PathBuf,
    file: Option<File>,
    /// None until the leases were looked at.
    pub taken: Option<Taken>,
}

impl Hint {
    /// Reads the hint of `set` in `folder`, if there is one.
    pub(super) fn load(folder: &Path, set: &RangeSet) -> Self {
        let path = folder.join(format!("{PREFIX}{}", set.fingerprint()));
        let file = file::options().read(true).write(true).open(&path).ok();
        let taken = file.as_ref().and_then(|file| read(file, set.slots()));
        Self { path, file, taken }
    }

    /// Writes what changed, or all of it where it was `replaced`.
    pub(super) fn save(&self, replaced: bool) {
        let Some(taken) = &self.taken else { return };
        match &self.file {
            Some(file) if !replaced => {
                for (index, byte) in taken.changes() {
                    let Ok(at) = u64::try_from(MAGIC.len() + index) else { continue };
                    let step = failpoint::step("mark in taken hint");
                    drop(step.and_then(|()| file.write_all_at(&[byte], at)));
                }
            }
            _ => self.replace(taken),
        }
    }

    /// Whole or not at all, so that a kill leaves no short one.
    fn replace(&self, taken: &Taken) {
        let temporary = self.path.with_file_name(".taken-tmp");
        let open = || file::options().create(true).truncate(true).write(true).open(&temporary);
        let file = failpoint::step("write taken hint").and_then(|()| open());
        let bytes = [MAGIC.as_slice(), taken.bytes()].concat();
        let written = file.and_then(|file| file.write_all_at(&bytes, 0));
        let written = written.and_then(|()| failpoint::step("rename taken hint"));
        drop(written.and_then(|()| fs::rename(&temporary, &self.path)));
    }
}

fn read(file: &File, slots: usize) -> Option<Taken> {
    let length = MAGIC.len() + slots.div_ceil(8);
    // One byte more than there should be, so that a longer file is noticed without asking for its length.
    let mut bytes = vec![0; length + 1];
    let read = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    let bits = bytes.strip_prefix(&MAGIC)?;
    Taken::from_bytes(slots, bits.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipam::range::Range;

    fn set(subnet: &str) -> RangeSet {
        RangeSet::new(vec![Range::new(subnet.parse().unwrap(), None, None, None).unwrap()]).unwrap()
    }

    #[test]
    fn a_hint_reads_back_for_its_own_ranges_only() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (set("10.0.0.0/24"), set("10.0.0.0/25"));
        let mut hint = Hint::load(folder.path(), &one);
        assert_eq!(hint.taken, None);
        hint.taken = Some(Taken::none(one.slots()));
        hint.save(true);
        let mut hint = Hint::load(folder.path(), &one);
        hint.taken.as_mut().unwrap().set(9);
        hint.save(false);
        assert_eq!(Hint::load(folder.path(), &one).taken.unwrap().next_free(9), Some(10));
        assert_eq!(Hint::load(folder.path(), &other).taken, None);
    }

    #[test]
    fn torn_and_foreign_hints_count_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let set = set("10.0.0.0/24");
        let path = Hint::load(folder.path(), &set).path;
        for damage in [b"".as_slice(), b"tptake1\n", &[0; 40], &[b"tptake1\n".as_slice(), &[0; 33]].concat()]
        {
            fs::write(&path, damage).unwrap();
            assert_eq!(Hint::load(folder.path(), &set).taken, None, "{damage:?}");
        }
    }
}
