//! The texts of licences: nearly all of them want to be passed on with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::crates::Crate;
use crate::platform::Part;
use crate::{Error, failed};

/// Beginnings of the names of such files, in capitals.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// What is in the programs and is no crate.
const HEAD: &str = "\
Tripod is under the Apache License 2.0. In its programs are Rust's standard library (MIT or Apache License 2.0), the
GNU C library (LGPL 2.1 or later; the programs can be linked with another one from their sources) and parts of
GCC's runtime (GPL 3 with the GCC Runtime Library Exception), and the crates below.
";

/// No licence is longer, in bytes.
const LONGEST: u64 = 256 << 10;

/// All texts that `platform` and `crates` bring, each once with those it is of, and who brings none.
pub(crate) fn text(platform: &[Part], crates: &BTreeSet<Crate>) -> Result<String, Error> {
    let (mut users, mut without) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for part in platform {
        for file in &part.texts {
            match fs::read_to_string(file) {
                Ok(text) => users.entry(text.trim().to_owned()).or_default().push(part.name.to_owned()),
                Err(_not_here) => without.push(format!("{} ({})", part.name, part.licence)),
            }
        }
    }
    for it in crates.iter().filter(|it| !it.is_own) {
        let label = format!("{} {}", it.name, it.version);
        let files = files(&it.folder).map_err(failed("list", &it.folder))?;
        if files.is_empty() {
            without.push(format!("{label} ({})", it.licence.as_deref().unwrap_or("no licence named")));
        }
        for file in files {
            let bytes = fs::read(&file).map_err(failed("read", &file))?;
            let text = String::from_utf8_lossy(&bytes).trim().replace('\r', "");
            users.entry(text).or_default().push(label.clone());
        }
    }
    let mut told = String::from(HEAD);
    for (text, users) in users {
        told.push_str(&format!("\n==== {}\n\n{text}\n", users.join(", ")));
    }
    without.dedup();
    if !without.is_empty() {
        told.push_str(&format!("\n==== without a file of their own\n\n{}\n", without.join("\n")));
    }
    Ok(told)
}

fn files(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let metadata = fs::metadata(entry.path())?;
        if NAMES.iter().any(|it| name.starts_with(it)) && metadata.is_file() && metadata.len() <= LONGEST {
            found.insert(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_told_once_with_all_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let part = |name: &str, files: &[(&str, &str)]| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
            Crate {
                name: name.into(),
                version: "1".into(),
                licence: Some("MIT".into()),
                folder,
                is_own: false,
            }
        };
        let mit = [("LICENSE-MIT", "free to use\r\n"), ("README.md", "not this")];
        let crates = [part("a", &mit), part("b", &[("license.txt", "free to use")]), part("c", &[])].into();
        let file = folder.path().join("lgpl");
        fs::write(&file, "free to link").unwrap();
        let platform = |name, texts| Part { name, licence: "LGPL", texts };
        let platform = [platform("libc", vec![file]), platform("runtime", vec!["/nowhere".into()])];
        let told = text(&platform, &crates).unwrap();
        assert_eq!(told.matches("free to use").count(), 1);
        assert!(told.contains("==== a 1, b 1\n\nfree to use\n"), "{told}");
        assert!(told.contains("==== libc\n\nfree to link\n"), "{told}");
        assert!(told.ends_with("of their own\n\nruntime (LGPL)\nc 1 (MIT)\n"), "{told}");
        assert!(!told.contains("not this"), "{told}");
    }
}
