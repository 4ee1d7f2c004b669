//! What a program or library asks of the machine it is loaded on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, StringTable};

/// The loader and libraries that a file names. A static program names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// Path of the loader.
    pub(crate) interpreter: Option<PathBuf>,
    /// File names of libraries.
    pub(crate) needed: Vec<String>,
}

/// A file that is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is no 64-bit ELF file.
    #[error("{path:?} is no ELF file that can be understood")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: object::read::Error,
    },
    /// It has no loader, and so cannot load anything.
    #[error("{path:?} is static, but must load libraries while it runs")]
    NotDynamic {
        /// The file.
        path: PathBuf,
    },
    /// It needs a loader where there will be none.
    #[error("{path:?} needs loader {interpreter:?}, but must be static")]
    NotStatic {
        /// The file.
        path: PathBuf,
        /// The loader it names.
        interpreter: PathBuf,
    },
}

/// Reads the header of the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Header, ElfError> {
    let bytes = fs::read(path).map_err(|source| ElfError::Read { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|source| ElfError::Parse { path: path.to_owned(), source })
}

impl Header {
    /// Refuses a program that a host might not be able to load.
    pub(crate) fn must_be_static(&self, path: &Path) -> Result<(), ElfError> {
        match &self.interpreter {
            None => Ok(()),
            Some(interpreter) => {
                Err(ElfError::NotStatic { path: path.to_owned(), interpreter: interpreter.clone() })
            }
        }
    }

    /// Refuses a program that cannot load libraries while it runs.
    pub(crate) fn must_be_dynamic(&self, path: &Path) -> Result<(), ElfError> {
        if self.interpreter.is_none() {
            return Err(ElfError::NotDynamic { path: path.to_owned() });
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<Header, object::read::Error> {
    let file = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = file.endian()?;
    let sections = file.sections(endian, bytes)?;
    let mut header = Header::default();
    for segment in file.program_headers(endian, bytes)? {
        if segment.p_type(endian) == PT_INTERP
            && let Ok(path) = segment.data(endian, bytes)
        {
            let text = path.split(|byte| *byte == 0).next().unwrap_or_default();
            header.interpreter = Some(String::from_utf8_lossy(text).into_owned().into());
        }
    }
    if let Some((entries, index)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, index)?;
        for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
            header.needed.push(name(entry, endian, strings)?);
        }
    }
    Ok(header)
}

fn name(
    entry: &impl Dyn<Endian = Endianness>,
    endian: Endianness,
    strings: StringTable<'_>,
) -> Result<String, object::read::Error> {
    Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_static_test_names_no_loader_and_a_shell_names_one() {
        let own = read(&std::env::current_exe().unwrap()).unwrap();
        own.must_be_static(Path::new("own")).unwrap();
        assert_eq!(own.needed, Vec::<String>::new());
        own.must_be_dynamic(Path::new("own")).unwrap_err();
        let shell = read(Path::new("/bin/sh")).unwrap();
        assert!(shell.needed.iter().any(|name| name == "libc.so.6"), "{shell:?}");
        shell.must_be_dynamic(Path::new("/bin/sh")).unwrap();
        let error = shell.must_be_static(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("ld-linux") && error.ends_with("but must be static"), "{error}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        parse(b"#!/bin/sh").unwrap_err();
        parse(&[]).unwrap_err();
    }
}
