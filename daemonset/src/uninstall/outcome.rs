//! What became of an object, for people and for programs. Pure.

use std::fmt;

use serde::Serialize;

use crate::report;

/// An object of the host or of the kernel, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Object {
    object: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip)]
    waits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Done,
    Kept,
    Failed,
}

/// How the objects are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For programs: one line.
    Json,
}

impl Object {
    /// It is gone, now or already.
    pub(super) fn done(object: impl fmt::Display) -> Self {
        Self::new(object, Outcome::Done, String::new())
    }

    /// It stays.
    pub(super) fn kept(object: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::new(object, Outcome::Kept, reason.into())
    }

    /// It stays for now.
    pub(super) fn waiting(object: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { waits: true, ..Self::kept(object, reason) }
    }

    /// It should be gone.
    pub(super) fn failed(object: impl fmt::Display, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(object, Outcome::Failed, report::chain(error))
    }

    /// One or the other.
    pub(super) fn removed<E: std::error::Error + 'static>(
        object: impl fmt::Display,
        removed: Result<(), E>,
    ) -> Self {
        match removed {
            Ok(()) => Self::done(object),
            Err(error) => Self::failed(object, &error),
        }
    }

    fn new(object: impl fmt::Display, outcome: Outcome, reason: String) -> Self {
        Self { object: object.to_string(), outcome, reason, waits: false }
    }

    /// Whether it should be gone.
    pub(super) fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    /// Whether it goes later.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.word())?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

impl Object {
    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Done => "done",
            Outcome::Kept => "kept",
            Outcome::Failed => "failed",
        }
    }
}

/// All objects as text.
pub(super) fn render(objects: &[Object], format: Format) -> String {
    match format {
        Format::Json => serde_json::to_string(objects).unwrap_or_default() + "\n",
        Format::Table => table(objects),
    }
}

fn table(objects: &[Object]) -> String {
    let width = objects.iter().map(|one| one.object.chars().count()).max().unwrap_or(0);
    let line = |one: &Object| {
        let text = format!("{:<6}  {:<width$}  {}", one.word(), one.object, one.reason);
        format!("{}\n", text.trim_end())
    };
    objects.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table_and_programs_one_line() {
        let objects = [
            Object::done("/a"),
            Object::waiting("/etc/b", "a pod runs"),
            Object::removed("/c", Err(std::io::Error::other("refused"))),
        ];
        let table = "done    /a\nkept    /etc/b  a pod runs\nfailed  /c      refused\n";
        assert_eq!(render(&objects, Format::Table), table);
        let json = "[{\"object\":\"/a\",\"outcome\":\"done\"},\
            {\"object\":\"/etc/b\",\"outcome\":\"kept\",\"reason\":\"a pod runs\"},\
            {\"object\":\"/c\",\"outcome\":\"failed\",\"reason\":\"refused\"}]\n";
        assert_eq!(render(&objects, Format::Json), json);
        assert_eq!(objects.each_ref().map(Object::waits), [false, true, false]);
    }
}
