//! The form of the shared config and credentials files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::aws::IdentityError;
use crate::file;
use crate::provider::FetchError;
use crate::secret::{Secret, SecretBytes};

/// Keys and values of a section, the keys in lower case.
pub(super) type Section = BTreeMap<String, Secret>;

/// Sections by their titles, as written between the brackets.
pub(super) type Sections = BTreeMap<String, Section>;

/// Those of the file at `path`; none where there is no file.
pub(super) fn load(path: &Path) -> Result<Sections, FetchError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sections::new()),
        _ => Ok(parse(path, &file::load(path)?.bytes)?),
    }
}

fn parse(path: &Path, bytes: &SecretBytes) -> Result<Sections, IdentityError> {
    let mut reading = Reading::default();
    let wrong = |line, problem| IdentityError::Ini { path: path.to_owned(), line, problem };
    let text = str::from_utf8(bytes.expose()).ok().ok_or_else(|| wrong(1, "it is not UTF-8 text"))?;
    for (index, line) in text.lines().enumerate() {
        reading.line(line).map_err(|problem| wrong(index + 1, problem))?;
    }
    Ok(reading.sections)
}

#[derive(Default)]
struct Reading {
    sections: Sections,
    title: Option<String>,
    /// How far the last key was indented: what is further in belongs to its value, as the lines below `s3 =` do.
    indent: Option<usize>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let bare = line.trim();
        let indent = line.len() - line.trim_start().len();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            return Ok(());
        }
        if indent == 0 && bare.starts_with('[') {
            return self.open(bare);
        }
        if self.indent.is_some_and(|last| indent > last) {
            return Ok(());
        }
        self.indent = Some(indent);
        self.key(bare)
    }

    fn open(&mut self, line: &str) -> Result<(), &'static str> {
        let (title, rest) =
            line.trim_start_matches('[').split_once(']').ok_or("the bracket is not closed")?;
        if !(rest.trim().is_empty() || rest.trim_start().starts_with(['#', ';'])) {
            return Err("there is something after the bracket");
        }
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        self.sections.entry(title.clone()).or_default();
        (self.title, self.indent) = (Some(title), None);
        Ok(())
    }

    fn key(&mut self, line: &str) -> Result<(), &'static str> {
        let (key, value) = line.split_once('=').ok_or("it is neither a section nor a key with a value")?;
        let title = self.title.as_ref().ok_or("it stands before the first section")?;
        let key = key.trim().to_ascii_lowercase();
        let value = Secret::new(uncommented(value).trim().to_owned());
        // The last one counts, as for the SDKs.
        self.sections.entry(title.clone()).or_default().insert(key, value);
        Ok(())
    }
}

/// A comment within a line begins after a space; without one it is part of the value.
fn uncommented(value: &str) -> &str {
    let marks = [" #", " ;", "\t#", "\t;"];
    let end = marks.iter().filter_map(|mark| value.find(mark)).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Sections, IdentityError> {
        parse(Path::new("/f"), &SecretBytes::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn sections_comments_and_nested_lines() {
        let text = "# comment\n[default]\nAWS_ACCESS_KEY_ID = a#b ; comment\ns3 =\n  max_concurrent_requests = 1\n\
            region=eu-west-1\n[ profile  x ] # comment\n  role_arn = r\n  source_profile = default\n\n\
            [profile x]\nrole_arn = s\n";
        let sections = read(text).unwrap();
        let get = |title: &str, key: &str| sections[title].get(key).map(|value| value.expose().to_owned());
        assert_eq!(get("default", "aws_access_key_id").as_deref(), Some("a#b"));
        assert_eq!(get("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(get("default", "max_concurrent_requests"), None);
        assert_eq!(get("profile x", "role_arn").as_deref(), Some("s"));
        assert_eq!(get("profile x", "source_profile").as_deref(), Some("default"));
    }

    #[test]
    fn a_mistake_is_told_by_its_line_and_not_repeated() {
        for (text, line) in [("x = hunter2", 1), ("[a]\nhunter2", 2), ("[a\n", 1), ("[a] hunter2", 1)] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("/f:{line}: ")) && !error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[\\[\\]=#; a-c\n\t\u{fc}]{0,80}") {
            let _read = read(&text);
        }
    }
}
